"""Ray Serve: one replica with dynamic request batching, as its documentation advises."""

from __future__ import annotations

import os
import time

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from bench.serving.classifier import Classifier


@serve.deployment(max_ongoing_requests=256)
class ImageDeployment:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def classify(self, images: list[bytes]) -> list[str]:
        tensors = [self.classifier.decode(image) for image in images]
        return self.classifier.predict(np.stack(tensors))

    async def __call__(self, request: Request) -> dict[str, str]:
        return {"label": await self.classify(await request.body())}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": int(os.environ["BENCH_PORT"])})
    serve.run(ImageDeployment.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    while True:
        time.sleep(3600)
