"""torchvision's `Resize` and `CenterCrop` on PIL images, pixel for pixel, at a cost that no picture's shape sets.

Pillow resizes a picture whole, and then it is cropped, wherever the whole is not much larger than the picture or the
crop. A picture of extreme shape is enlarged to far more than both: 1 × 10,000 pixels, with 256 for the shorter side,
become 256 × 2,560,000. There only what the crop keeps is computed, here, in Pillow's own arithmetic: Pillow can
resize a box of a picture too, but rounds the box to float32, and gives other pixels than the whole picture has.

Such a picture is enlarged along both sides, as their ratio is kept. Pillow then resamples its rows first, rounds to
8 bits, and resamples the columns of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.contract.bundle_schema import InputSpec

Pixels = NDArray[np.uint8]

PLENTY = 2**21
"""Pixels that any resized picture may have: 16 MiB for both of Pillow's passes, and at most as much for its weights."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_WEIGHT_BITS = 22
_STEPS = 2**16
"""Positions of `nearest` that are added up at a time."""


@dataclass(frozen=True)
class Side:
    """Along one side, `size` pixels are resized to `resized`, of which the crop keeps `count` from `first` on."""

    size: int
    resized: int
    first: int
    count: int


def fit(pixels: Pixels, spec: InputSpec) -> Pixels:
    """The picture, resized and cropped: uint8 [h, w, c] → [spec.height, spec.width, c]."""
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
    """Width and height after `Resize`: the shorter side becomes `spec.resize`, the longer is cut to whole pixels."""
    if spec.resize is None:
        return spec.width, spec.height
    if width <= height:
        return spec.resize, max(1, int(spec.resize * height / width))
    return max(1, int(spec.resize * width / height)), spec.resize


def as_array(image: Image.Image) -> Pixels:
    """uint8 [h, w, c]; the one channel of grey has an axis too."""
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
    """Black around a picture that is smaller than the crop; an odd pixel goes below and to the right."""
    height, width, channels = kept.shape
    if (height, width) == (spec.height, spec.width):
        return kept
    ground = np.zeros((spec.height, spec.width, channels), np.uint8)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    ground[top : top + height, left : left + width] = kept
    return ground


# ------------------------------------------------ the part that the crop keeps, alone


def enlarged_part(pixels: Pixels, rows: Side, columns: Side, interpolation: str) -> Pixels:
    """The part that the crop keeps of a picture enlarged along both sides: uint8 [rows.count, columns.count, c]."""
    if interpolation == "nearest":
        return pixels[np.ix_(_nearest(rows), _nearest(columns))]
    down, across = _taps(rows, interpolation), _taps(columns, interpolation)
    band = pixels[down.first : down.end, across.first : across.end]
    return _weighted(_weighted(band.swapaxes(0, 1), across).swapaxes(0, 1), down)


@dataclass(frozen=True)
class Taps:
    """The pixels that each pixel kept is made of, all within `first` … `end`, and how much of each.

    `places` int64 [count, taps] is counted from `first`; `weights` int32 [count, taps] is in units of 2^-22.
    """

    first: int
    end: int
    places: NDArray[np.int64]
    weights: NDArray[np.int32]


def _taps(side: Side, interpolation: str) -> Taps:
    """Pillow's weights for an enlargement, operation by operation in float64."""
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
    """The pixels kept along axis 0. The sums fit into 32 bits, as Pillow's do: a weight is at most 1.2 in size."""
    sums = np.full((len(taps.places), *pixels.shape[1:]), 1 << (_WEIGHT_BITS - 1), np.int32)
    for places, weights in zip(taps.places.T, taps.weights.T, strict=True):
        sums += pixels[places].astype(np.int32) * weights[:, None, None]
    kept: Pixels = np.clip(sums >> _WEIGHT_BITS, 0, 255).astype(np.uint8)
    return kept


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = −1/2."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}


def _nearest(side: Side) -> NDArray[np.int64]:
    """The pixel nearest to each one kept. Pillow adds up positions, one after the other, with all their rounding."""
    step, end = side.size / side.resized, side.first + side.count
    position = step * 0.5
    kept: list[NDArray[Any]] = []
    for begun in range(0, end, _STEPS):
        steps = np.full(min(_STEPS, end - begun) + 1, step)
        steps[0] = position
        positions = np.cumsum(steps)
        position = float(positions[-1])
        kept.append(positions[max(0, side.first - begun) : -1])
    return np.minimum(np.concatenate(kept).astype(np.int64), side.size - 1)
