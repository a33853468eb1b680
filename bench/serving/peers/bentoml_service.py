"""BentoML: one service with a batchable endpoint, as its documentation on adaptive batching advises."""

from __future__ import annotations

import base64

import bentoml
import numpy as np

from bench.serving.classifier import Classifier


@bentoml.service(traffic={"timeout": 30})
class ImageService:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000, route="/predict")
    def predict(self, image: list[str]) -> list[str]:
        tensors = [self.classifier.decode(base64.b64decode(data)) for data in image]
        return self.classifier.predict(np.stack(tensors))
