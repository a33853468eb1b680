"""Small pictures as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(picture: Image.Image | NDArray[Any]) -> bytes:
    """Return a picture, or pixels uint8 [h, w, c], as a PNG file."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def write_labelled_noise(data: Path, labels: Sequence[str], per_label: int, side: int = 6) -> None:
    """Write `<split>/<label>/<number>.png` for the splits train and test into a new folder: noise, `side` × `side`."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in labels:
            (data / split / label).mkdir(parents=True)
            for number in range(per_label):
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                (data / split / label / f"{number}.png").write_bytes(png(pixels))
