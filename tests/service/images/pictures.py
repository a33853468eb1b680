"""Pictures, descriptions of a network's input, and torchvision's definition of Resize and CenterCrop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.contract.bundle_schema import InputSpec

Pixels = NDArray[np.uint8]


def spec(height: int, width: int, **changes: Any) -> InputSpec:
    return InputSpec(**{"height": height, "width": width, "mean": (0.5,) * 3, "std": (0.25,) * 3, **changes})


def photograph(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture with smooth areas and edges, which JPEG compresses well."""
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 5 + 2, size[0] // 5 + 2, bands), np.uint8)
    return Image.merge(
        mode, [Image.fromarray(noise[..., band]).resize(size, Image.Resampling.BICUBIC) for band in range(bands)]
    )


def torchvision_reference(image: Image.Image, resize: int, crop: tuple[int, int], method: Any) -> Pixels:
    """`Resize(resize)` and `CenterCrop(crop)` as torchvision documents and computes them on PIL images."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_short, new_long = resize, int(resize * long / short)
    new_width, new_height = (new_short, new_long) if width <= height else (new_long, new_short)
    if (width, height) != (new_width, new_height):
        image = image.resize((new_width, new_height), method)
    crop_height, crop_width = crop
    if crop_width > new_width or crop_height > new_height:
        left = (crop_width - new_width) // 2 if crop_width > new_width else 0
        top = (crop_height - new_height) // 2 if crop_height > new_height else 0
        right = (crop_width - new_width + 1) // 2 if crop_width > new_width else 0
        bottom = (crop_height - new_height + 1) // 2 if crop_height > new_height else 0
        image = ImageOps.expand(image, (left, top, right, bottom), 0)
        new_width, new_height = image.size
    top = round((new_height - crop_height) / 2.0)
    left = round((new_width - crop_width) / 2.0)
    return np.asarray(image.crop((left, top, left + crop_width, top + crop_height)))
