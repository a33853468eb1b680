"""The peers' work on an image: Pillow, the bundle's preprocessing, ONNX Runtime, as a tutorial writes it.

Peers run in environments of their own, without our service.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Classifier:
    """The bundle named by the variable BENCH_BUNDLE, on one thread (or BENCH_THREADS)."""

    def __init__(self) -> None:
        folder = Path(os.environ["BENCH_BUNDLE"])
        bundle = json.loads((folder / "bundle.json").read_text())
        spec = bundle["input"]
        self.labels: list[str] = bundle["labels"]
        self._size = (spec["width"], spec["height"])
        self._resize = spec["resize"]
        self._mean = np.array(spec["mean"], np.float32)
        self._std = np.array(spec["std"], np.float32)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("BENCH_THREADS", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "forward.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def decode(self, data: bytes) -> Any:
        """Decode an image to float32 [3, h, w], resized and cropped as torchvision does."""
        image = self._fitted(Image.open(io.BytesIO(data)).convert("RGB"))
        pixels = np.asarray(image, dtype=np.float32) / 255
        return ((pixels - self._mean) / self._std).transpose(2, 0, 1)

    def _fitted(self, image: Any) -> Any:
        if self._resize is None:
            return image.resize(self._size, Image.Resampling.BILINEAR)
        scale = self._resize / min(image.size)
        image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (round((has - wants) / 2) for has, wants in zip(image.size, self._size, strict=True))
        return image.crop((left, top, left + self._size[0], top + self._size[1]))

    def logits(self, batch: Any) -> Any:
        """Return float32 [n, classes] for float32 [n, 3, h, w]."""
        return self._session.run(["logits"], {"input": np.ascontiguousarray(batch)})[0]

    def predict(self, batch: Any) -> list[str]:
        """Return the most probable label of each image in float32 [n, 3, h, w]."""
        return [self.labels[index] for index in self.logits(batch).argmax(1)]
