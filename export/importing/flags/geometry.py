"""Resize and crop: from the flags and the model's size to what a bundle states."""

from __future__ import annotations

import math

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ImportOptions

Resize = int | tuple[int, int] | None


def resize_before_crop(options: ImportOptions, height: int, width: int) -> Resize:
    """Return `InputSpec.resize` for a model of height × width.

    Raises OptionMismatch where nothing of that size can be cropped from the resized picture, or a fraction of a size
    that is no square is asked for.
    """
    if options.crop is not None and (height, width) != (options.crop, options.crop):
        raise OptionMismatch(f"--crop {options.crop}: the model takes images of {height} x {width}")
    resize = _of_fraction(options, height, width) if options.crop_fraction else options.resize
    if resize is None and options.resize_side == "longer":
        resize = _square(height, width, "a picture is padded to a square (--letterbox)")
    if options.resize_side == "longer":
        return resize
    least = (height, width) if isinstance(resize, tuple) else max(height, width)
    if resize is not None and not _contains(resize, least):
        said = f"{resize[0]},{resize[1]}" if isinstance(resize, tuple) else resize
        raise OptionMismatch(f"--resize {said}: nothing of {height} x {width} can be cropped from it")
    return None if resize == (height, width) else resize


def _of_fraction(options: ImportOptions, height: int, width: int) -> Resize:
    """Return the size of which the crop keeps the share `crop_fraction`, rounded down as timm does."""
    fraction = options.crop_fraction or 1.0
    if options.resize_side == "both":
        return math.floor(height / fraction), math.floor(width / fraction)
    return math.floor(_square(height, width, "a share of the resized picture is cropped (--crop-fraction)") / fraction)


def _square(height: int, width: int, why: str) -> int:
    if height != width:
        raise OptionMismatch(f"{why}, but the model takes images of {height} x {width}; say --resize HEIGHT,WIDTH")
    return height


def _contains(resize: int | tuple[int, int], least: int | tuple[int, int]) -> bool:
    if isinstance(resize, tuple) and isinstance(least, tuple):
        return resize[0] >= least[0] and resize[1] >= least[1]
    return isinstance(resize, int) and isinstance(least, int) and resize >= least
