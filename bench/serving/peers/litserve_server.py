"""LitServe with dynamic batching, as its documentation advises: max_batch_size and batch_timeout."""

from __future__ import annotations

import base64
import os
from typing import Any

import litserve
import numpy as np

from bench.serving.classifier import Classifier


class ImageAPI(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request: dict[str, str]) -> Any:
        return self.classifier.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, batch: Any) -> list[str]:
        return self.classifier.predict(batch)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output: str) -> dict[str, str]:
        return {"label": output}


if __name__ == "__main__":
    api = ImageAPI(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
