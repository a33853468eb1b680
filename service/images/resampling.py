"""torchvision's `Resize` and `CenterCrop` on PIL images, pixel for pixel, at a bounded cost whatever the shape.

Where the resized picture is not much larger than the original or the crop, Pillow resizes it and then it is cropped.
A picture of extreme shape becomes far larger than both: 1 × 10,000 pixels, with 256 for the shorter side, become
256 × 2,560,000. Of such a picture only the part that the crop keeps is computed, in this file and in Pillow's own
arithmetic. Pillow can resize a box of a picture too, but it rounds the box to float32, which gives other pixels.

Resizing keeps the ratio of the sides, so such a picture is enlarged along both. Pillow then resamples along the rows,
rounds to 8 bits, and resamples along the columns of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.contract.arrays import Array, Float64, Pixels
from service.contract.bundle_schema import InputSpec

PLENTY = 2**21
"""Pixels that a resized picture may always have: both of Pillow's passes take 16 MiB, its weights no more than that."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
_WEIGHT_BITS = 22
_STEPS = 2**16
"""Positions that `nearest` adds up at a time."""


@dataclass(frozen=True)
class Side:
    """Plan for one side: `size` pixels are resized to `resized`, and the crop keeps `count` of them from `first` on."""

    size: int
    resized: int
    first: int
    count: int


def fit(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Resize and crop a picture: uint8 [h, w, c] → [spec.height, spec.width, c]."""
    height, width = pixels.shape[:2]
    resized_width, resized_height = resized_size(width, height, spec)
    rows = _side(height, resized_height, spec.height)
    columns = _side(width, resized_width, spec.width)
    if resized_width * resized_height <= max(PLENTY, height * width, spec.height * spec.width):
        kept = _whole_then_cropped(pixels, rows, columns, spec)
    else:
        kept = enlarged_part(pixels, rows, columns, spec.interpolation)
    return _padded(kept, spec)


def resized_size(width: int, height: int, spec: InputSpec) -> tuple[int, int]:
    """Return width and height after the resize; the side that `spec.resize` does not give is rounded as it says."""
    if spec.resize is None:
        return spec.width, spec.height
    if isinstance(spec.resize, tuple):
        return spec.resize[1], spec.resize[0]
    if (width <= height) == (spec.resize_side == "shorter"):
        return spec.resize, _rounded(height, spec.resize, width, spec)
    return _rounded(width, spec.resize, height, spec), spec.resize


def _rounded(side: int, resized: int, other: int, spec: InputSpec) -> int:
    """Return a side of a picture whose `other` side becomes `resized`."""
    return max(1, int(resized * side / other) if spec.resize_rounding == "down" else round(resized / other * side))


def as_array(image: Image.Image) -> Pixels:
    """Return the pixels, uint8 [h, w, c]; c is 1 for a grey picture."""
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _side(size: int, resized: int, crop: int) -> Side:
    if resized <= crop:
        return Side(size, resized, 0, resized)
    return Side(size, resized, round((resized - crop) / 2), crop)


def _whole_then_cropped(pixels: Pixels, rows: Side, columns: Side, spec: InputSpec) -> Pixels:
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    if image.size != (columns.resized, rows.resized):
        image = image.resize((columns.resized, rows.resized), _RESAMPLING[spec.interpolation])
    if image.size != (columns.count, rows.count):
        image = image.crop((columns.first, rows.first, columns.first + columns.count, rows.first + rows.count))
    return as_array(image)


def _padded(kept: Pixels, spec: InputSpec) -> Pixels:
    """Put black around a picture that is smaller than the crop; an odd pixel goes below and to the right."""
    height, width, channels = kept.shape
    if (height, width) == (spec.height, spec.width):
        return kept
    ground = np.zeros((spec.height, spec.width, channels), np.uint8)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    ground[top : top + height, left : left + width] = kept
    return ground


# ------------------------------------------------ only the part that the crop keeps


def enlarged_part(pixels: Pixels, rows: Side, columns: Side, interpolation: str) -> Pixels:
    """Enlarge a picture, and compute only the part that the crop keeps: uint8 [rows.count, columns.count, c]."""
    if interpolation == "nearest":
        return pixels[np.ix_(_nearest(rows), _nearest(columns))]
    down, across = _taps(rows, interpolation), _taps(columns, interpolation)
    band = pixels[down.first : down.end, across.first : across.end]
    return _weighted(_weighted(band.swapaxes(0, 1), across).swapaxes(0, 1), down)


@dataclass(frozen=True)
class Taps:
    """Weighted source pixels that make up each pixel of the result.

    Args:
        first, end: range that contains all source pixels.
        places: positions of the source pixels, counted from `first`, int64 [count, taps].
        weights: in units of 2^-22, int32 [count, taps].
    """

    first: int
    end: int
    places: NDArray[np.int64]
    weights: NDArray[np.int32]


def _taps(side: Side, interpolation: str) -> Taps:
    """Compute Pillow's weights for an enlargement, with its own float64 operations in its own order."""
    kernel, reach = _KERNELS[interpolation]
    centres = (np.arange(side.first, side.first + side.count) + 0.5) * (side.size / side.resized)
    starts = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + reach + 0.5).astype(np.int64), side.size)
    places = starts[:, None] + np.arange((ends - starts).max())
    shares = kernel(places - centres[:, None] + 0.5) * (places < ends[:, None])
    shares /= np.cumsum(shares, axis=1)[:, -1:]  # added one after the other, as Pillow does
    weights = np.trunc(shares * 2**_WEIGHT_BITS + np.where(shares < 0, -0.5, 0.5)).astype(np.int32)
    first, end = int(starts[0]), int(ends[-1])
    return Taps(first, end, np.minimum(places, end - 1) - first, weights)


def _weighted(pixels: Pixels, taps: Taps) -> Pixels:
    """Resample along axis 0. The sums fit into 32 bits, as Pillow's do: no weight is larger than 1.2."""
    sums = np.full((len(taps.places), *pixels.shape[1:]), 1 << (_WEIGHT_BITS - 1), np.int32)
    for places, weights in zip(taps.places.T, taps.weights.T, strict=True):
        sums += pixels[places].astype(np.int32) * weights[:, None, None]
    kept: Pixels = np.clip(sums >> _WEIGHT_BITS, 0, 255).astype(np.uint8)
    return kept


def _triangle(distance: Float64) -> Float64:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _cubic(distance: Float64) -> Float64:
    """Keys' kernel with a = −1/2."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_KERNELS: dict[str, tuple[Callable[[Float64], Float64], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}


def _nearest(side: Side) -> NDArray[np.int64]:
    """Return the nearest source pixel of each pixel of the result, int64 [count].

    Pillow finds the positions by adding the step again and again, with all the rounding; so does this.
    """
    step, end = side.size / side.resized, side.first + side.count
    position = step * 0.5
    kept: list[Array] = []
    for begun in range(0, end, _STEPS):
        steps = np.full(min(_STEPS, end - begun) + 1, step)
        steps[0] = position
        positions = np.cumsum(steps)
        position = float(positions[-1])
        kept.append(positions[max(0, side.first - begun) : -1])
    return np.minimum(np.concatenate(kept).astype(np.int64), side.size - 1)
