"""Pictures of chosen sizes, from easy to decode to as expensive as is allowed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.attacks.pictures import saved


def smooth_jpeg(width: int, height: int, seed: int = 0) -> bytes:
    """Return a JPEG of smooth noise, which compresses about as well as a photograph."""
    size = (max(2, height // 16), max(2, width // 16), 3)
    coarse = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return saved(picture, "JPEG", quality=90)


def noisy_jpeg(width: int, height: int) -> bytes:
    """Return a JPEG of noise, which compresses badly: about a byte per pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels), "JPEG", quality=92)


def webp_bomb(width: int, height: int) -> bytes:
    """Return a few bytes of lossless WebP, the format whose decoding takes the most memory per pixel."""
    return saved(Image.new("RGBA", (width, height), (3, 4, 5, 6)), "WEBP", lossless=True)
