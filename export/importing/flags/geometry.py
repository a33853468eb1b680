"""Resize and crop: from the flags and the model's size to what a bundle states."""

from __future__ import annotations

import math

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ImportOptions

Resize = int | tuple[int, int] | None


def resize_before_crop(options: ImportOptions, height: int, width: int) -> Resize:
    """Return `InputSpec.resize` for a model of height × width.

    Raises OptionMismatch where `--crop` contradicts the model, or nothing of its size can be cropped.
    """
    if options.crop is not None and (height, width) != (options.crop, options.crop):
        raise OptionMismatch(f"--crop {options.crop}: the model takes images of {height} x {width}")
    resize = options.resize
    if resize is None and (options.crop_fraction is not None or options.resize_side is not None):
        # Rounded down, as timm does.
        share = options.crop_fraction or 1.0
        resize = (math.floor(height / share), math.floor(width / share))
    if resize is None or (resize == (height, width) and options.resize_side is None):
        return None
    sides = resize if isinstance(resize, tuple) else (resize, resize)
    if options.resize_side != "longer" and (sides[0] < height or sides[1] < width):
        said = ",".join(map(str, resize)) if isinstance(resize, tuple) else resize
        raise OptionMismatch(f"--resize {said}: nothing of {height} x {width} can be cropped from it")
    return resize[0] if isinstance(resize, tuple) and options.resize_side and resize[0] == resize[1] else resize
