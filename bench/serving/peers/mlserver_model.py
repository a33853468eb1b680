"""MLServer: a custom runtime with adaptive batching (settings written by `python -m bench.serving`)."""

from __future__ import annotations

import base64

import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from bench.serving.classifier import Classifier


class ImageModel(MLModel):
    async def load(self) -> bool:
        self.classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        encoded = data.root if hasattr(data, "root") else data
        tensors = [self.classifier.decode(base64.b64decode(value)) for value in encoded]
        labels = self.classifier.predict(np.stack(tensors))
        output = ResponseOutput(name="label", shape=[len(labels)], datatype="BYTES", data=labels)
        return InferenceResponse(model_name=self.name, outputs=[output])
