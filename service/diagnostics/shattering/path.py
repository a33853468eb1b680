"""The straight path between two images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array


def straight_path(first: Array, second: Array, points: int) -> NDArray[np.float32]:
    """Return P = `points` inputs from `first` to `second`, both included: [P, …] float32."""
    t = np.linspace(0.0, 1.0, points).reshape(-1, *[1] * first.ndim)
    path: NDArray[np.float32] = ((1 - t) * first + t * second).astype(np.float32)
    return path


def noise_image(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return uniform noise, always the same: the second image of a path where only one is given."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
