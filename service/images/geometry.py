"""Plans a picture's size after the resize, and the part of it that the crop keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.contract.arrays import Float64
from service.contract.bundle_schema import InputSpec


@dataclass(frozen=True)
class Side:
    """Plan for the rows or the columns.

    Args:
        size: pixels of the picture.
        resized: pixels after the resize.
        first, count: pixels of the resized picture that the crop keeps.
        before: pixels of the result, filled with a colour, before the first that is kept.
    """

    size: int
    resized: int
    first: int
    count: int
    before: int = 0

    @property
    def centres(self) -> Float64:
        """Places in the picture, in pixels from its edge, of the middles of the pixels that are kept: [count]."""
        kept = np.arange(self.first, self.first + self.count, dtype=np.float64)
        found: Float64 = (kept + 0.5) * (self.size / self.resized)
        return found


def plan(shape: tuple[int, int], spec: InputSpec, own: tuple[int, int] | None = None) -> tuple[Side, Side]:
    """Plan resize, crop and padding of a picture: its rows, its columns.

    Args:
        shape: height and width of its pixels.
        spec: what it shall become.
        own: its own height and width, if it was decoded to a smaller size.
    """
    resized_height, resized_width = resized_size(*(own or shape), spec)
    return _side(shape[0], resized_height, spec.height, spec), _side(shape[1], resized_width, spec.width, spec)


def resized_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Return height and width after the resize; a side that would vanish keeps one pixel."""
    target = (spec.height, spec.width) if spec.resize is None else spec.resize
    if isinstance(target, int):
        target = (target, target)
    elif spec.resize is None or spec.resize_side is None:
        return target
    keep = _keep_ratio if spec.resize_rounding == "down" else _keep_ratio_nearest
    resized_height, resized_width = keep(height, width, target, fits=spec.resize_side == "longer")
    return max(1, resized_height), max(1, resized_width)


def covers(spec: InputSpec) -> bool:
    """Say if the picture covers the size of its resize, so that one of extreme shape becomes far larger than that."""
    return (isinstance(spec.resize, int) and spec.resize_side is None) or spec.resize_side == "shorter"


def _keep_ratio(height: int, width: int, target: tuple[int, int], fits: bool) -> tuple[int, int]:
    """Give one side the target, and the other what the ratio says, rounded down (torchvision's `Resize`)."""
    target_height, target_width = target
    if (width * target_height <= height * target_width) != fits:
        return int(target_width * height / width), target_width
    return target_height, int(target_height * width / height)


def _keep_ratio_nearest(height: int, width: int, target: tuple[int, int], fits: bool) -> tuple[int, int]:
    """Divide both sides by the same ratio, and round to the nearest, in the arithmetic of timm's `ResizeKeepRatio`."""
    ratios = (height / target[0], width / target[1])
    ratio = max(ratios) if fits else min(ratios)
    return round(height / ratio), round(width / ratio)


def _side(size: int, resized: int, crop: int, spec: InputSpec) -> Side:
    if resized <= crop:
        missing = crop - resized
        before = missing // 2 if spec.padding_rounding == "down" else (missing + 1) // 2
        return Side(size, resized, 0, resized, before)
    cut = resized - crop
    return Side(size, resized, round(cut / 2) if spec.crop_rounding == "even" else cut // 2, crop)
