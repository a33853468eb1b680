"""The host's part of an image: decoding and normalising."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from service.contract.bundle_schema import BUNDLE_FILE, Bundle
from service.images.preprocess import decode, normalise


def host_parts(bundle: str, listing: str, seconds: float) -> dict[str, float]:
    """Return microseconds per image of decoding and of normalising the photographs of `listing`, on one core."""
    spec = Bundle.model_validate_json((Path(bundle) / BUNDLE_FILE).read_text()).input
    photographs = [Path(file).read_bytes() for file, _ in json.loads(Path(listing).read_text())]
    spent = {"decode": 0.0, "normalise": 0.0}
    images, end = 0, time.perf_counter() + seconds
    while not images or time.perf_counter() < end:
        began = time.perf_counter()
        pixels = np.stack([decode(data, spec) for data in photographs])
        decoded = time.perf_counter()
        normalise(pixels, spec)
        spent["decode"] += decoded - began
        spent["normalise"] += time.perf_counter() - decoded
        images += len(photographs)
    return {part: 1e6 * used / images for part, used in spent.items()}
