"""Resize, crop and padding of a picture, pixel for pixel as Pillow does them, at a bounded cost whatever its shape.

Where the resized picture is not much larger than the original or the crop, Pillow resizes it and then it is cropped.
A picture of extreme shape becomes far larger than both: 1 × 10,000 pixels, with 256 for the shorter side, become
256 × 2,560,000. Of such a picture only the part that the crop keeps is computed, in this file and in Pillow's own
arithmetic. Pillow can resize a box of a picture too, but it rounds the box to float32, which gives other pixels.

Only a resize that keeps the ratio and covers a size can do that, so such a picture is enlarged along both sides. Pillow
then resamples along the rows, rounds to 8 bits, and resamples along the columns of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.contract.arrays import Array, Float64, Pixels
from service.contract.bundle_schema import InputSpec
from service.images.geometry import Side, covers, plan
from service.images.points import keys_far, keys_near, sampled

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


def fit(pixels: Pixels, spec: InputSpec, own: tuple[int, int] | None = None) -> Pixels:
    """Resize, crop and pad a picture: uint8 [h, w, c] → [spec.height, spec.width, c].

    Args:
        pixels: the picture.
        spec: what it shall become.
        own: the picture's own height and width, if it was decoded to a smaller size.
    """
    height, width = pixels.shape[:2]
    if spec.resize is None and (height, width) == (spec.height, spec.width):
        return pixels
    rows, columns = plan((height, width), spec, own)
    if (rows.resized, columns.resized) == (height, width):
        kept = pixels[rows.first : rows.first + rows.count, columns.first : columns.first + columns.count]
    elif not spec.antialias and spec.interpolation != "nearest":
        kept = sampled(pixels, rows, columns, spec.interpolation)
    elif covers(spec) and rows.resized * columns.resized > max(PLENTY, height * width, spec.height * spec.width):
        kept = enlarged_part(pixels, rows, columns, spec.interpolation)
    else:
        kept = _whole_then_cropped(pixels, rows, columns, spec.interpolation)
    return _padded(kept, rows, columns, spec)


def as_array(image: Image.Image) -> Pixels:
    """Return the pixels, uint8 [h, w, c]; c is 1 for a grey picture."""
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _whole_then_cropped(pixels: Pixels, rows: Side, columns: Side, interpolation: str) -> Pixels:
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image = image.resize((columns.resized, rows.resized), _RESAMPLING[interpolation])
    if image.size != (columns.count, rows.count):
        image = image.crop((columns.first, rows.first, columns.first + columns.count, rows.first + rows.count))
    return as_array(image)


def _padded(kept: Pixels, rows: Side, columns: Side, spec: InputSpec) -> Pixels:
    """Put the colour `spec.fill` around a picture that is smaller than the crop."""
    height, width, channels = kept.shape
    if (height, width) == (spec.height, spec.width):
        return kept
    colour = Image.new("RGB", (1, 1), spec.fill)
    ground = np.empty((spec.height, spec.width, channels), np.uint8)
    ground[:] = as_array(colour if channels == 3 else colour.convert("L"))[0, 0]
    ground[rows.before : rows.before + height, columns.before : columns.before + width] = kept
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
    centres = side.centres
    starts = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + reach + 0.5).astype(np.int64), side.size)
    places = starts[:, None] + np.arange((ends - starts).max())
    shares = kernel(places - centres[:, None] + 0.5) * (places < ends[:, None])
    shares /= np.cumsum(shares, axis=1)[:, -1:]  # added one after the other, as Pillow does
    weights = np.trunc(shares * 2**_WEIGHT_BITS + np.where(shares < 0, -0.5, 0.5)).astype(np.int32)
    first, end = int(starts[0]), int(ends[-1])
    return Taps(first, end, np.minimum(places, end - 1) - first, weights)


def _weighted(pixels: Pixels, taps: Taps) -> Pixels:
    """Resample along axis 0. The sums fit into 32 bits, as Pillow's do: no weights add up to 2."""
    sums = np.full((len(taps.places), *pixels.shape[1:]), 1 << (_WEIGHT_BITS - 1), np.int32)
    for places, weights in zip(taps.places.T, taps.weights.T, strict=True):
        sums += pixels[places].astype(np.int32) * weights[:, None, None]
    kept: Pixels = np.clip(sums >> _WEIGHT_BITS, 0, 255).astype(np.uint8)
    return kept


def _box(distance: Float64) -> Float64:
    return ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)


def _triangle(distance: Float64) -> Float64:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _cubic(distance: Float64) -> Float64:
    """Keys' kernel with a = −1/2."""
    x = np.abs(distance)
    return np.where(x < 1, keys_near(x, -0.5), np.where(x < 2, keys_far(x, -0.5), 0.0))


def _hamming(distance: Float64) -> Float64:
    x = np.abs(distance)
    window = _sinc(x) * (0.54 + 0.46 * _cosine(x * math.pi))
    return np.where(x < 1, window, 0.0)


def _lanczos(distance: Float64) -> Float64:
    within = (distance >= -3) & (distance < 3)
    return np.where(within, _sinc(distance) * _sinc(distance / 3), 0.0)


# The C library's, which Pillow uses; NumPy's own differ from them in the last bit.
_sine = np.vectorize(math.sin, otypes=[np.float64])
_cosine = np.vectorize(math.cos, otypes=[np.float64])


def _sinc(x: Float64) -> Float64:
    angle = x * math.pi
    return np.where(x == 0, 1.0, _sine(angle) / np.where(x == 0, 1.0, angle))


_KERNELS: dict[str, tuple[Callable[[Float64], Float64], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
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
