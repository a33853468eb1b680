"""Pictures sampled at points, without averaging: what OpenCV, torch and TensorFlow do where antialiasing is off.

Pixel i of the result lies at (i + 1/2) · size / resized − 1/2 of the picture (half-pixel centres). Its value comes from
the two or four pixels around that place, along each side, however much the picture shrinks; beyond the border the last
pixel is repeated. So only what the crop keeps is computed, at the same cost for every picture.

    bilinear    torch's `interpolate` and TensorFlow in float, OpenCV's `INTER_LINEAR` but for its fixed point
    bicubic     a = −3/4: torch's `interpolate` in float, OpenCV's `INTER_CUBIC` but for its fixed point. TensorFlow
                has a = −1/2

The sums are rounded once, to the nearest, so that they are half a level at most from those of float pipelines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Float64, Pixels
from service.images.geometry import Side

_SHARPNESS = -0.75
"""a of Keys' kernel in OpenCV and torch; Pillow has −1/2."""


def sampled(pixels: Pixels, rows: Side, columns: Side, interpolation: str) -> Pixels:
    """Resize bilinearly or bicubically, and compute only the part that the crop keeps: uint8 [rows, columns, c]."""
    down, down_weights = _taps(rows, interpolation)
    across, across_weights = _taps(columns, interpolation)
    # The longer side first: what is taken along it stays small, however long it is.
    if rows.size > columns.size:
        pixels = pixels.take(down, axis=0).take(across, axis=2)
    else:
        pixels = pixels.take(across, axis=1).take(down, axis=0)
    total = np.zeros((rows.count, columns.count, pixels.shape[-1]), np.float32)
    for lines, row_weights in zip(pixels, down_weights, strict=True):
        for tap, column_weights in enumerate(across_weights):
            total += lines[:, tap] * (row_weights[:, None] * column_weights)[..., None]
    kept: Pixels = np.clip(np.rint(total), 0, 255).astype(np.uint8)
    return kept


def _taps(side: Side, interpolation: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the positions and the weights of the neighbours of each pixel of the result: [taps, count]."""
    at = side.centres - 0.5
    whole = np.floor(at)
    weights = np.stack(_linear(at - whole) if interpolation == "bilinear" else _cubic(at - whole))
    steps = np.arange(len(weights)) - (len(weights) // 2 - 1)
    places = np.clip(whole.astype(np.int64) + steps[:, None], 0, side.size - 1)
    return places, weights.astype(np.float32)


def _linear(offset: Float64) -> tuple[Float64, ...]:
    return 1 - offset, offset


def _cubic(offset: Float64) -> tuple[Float64, ...]:
    """Return the weights of the four neighbours."""
    a = _SHARPNESS
    return keys_far(1 + offset, a), keys_near(offset, a), keys_near(1 - offset, a), keys_far(2 - offset, a)


def keys_near(x: Float64, a: float) -> Float64:
    """Return Keys' kernel at distances 0…1 (R. Keys, Cubic convolution interpolation, 1981)."""
    return ((a + 2) * x - (a + 3)) * x * x + 1


def keys_far(x: Float64, a: float) -> Float64:
    """Return Keys' kernel at distances 1…2."""
    return a * (((x - 5) * x + 8) * x - 4)
