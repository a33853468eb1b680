"""From the pixels that a file holds to RGB of 8 bits, by the rules in the docstring of `service/images.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

Pixels = NDArray[np.uint8]
Array = NDArray[Any]

_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262
_SAMPLE_FORMAT: Final = 339
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2
_OF_FEW_BITS: Final = {"L;2": 85, "L;4": 17}
"""Pillow's names of grey with 2 and 4 bits, and how far it spreads the levels over 0…255."""


def load(image: Image.Image, reopen: Callable[[], Image.Image]) -> Image.Image:
    """Decodes the pixels; what a PNG's transparent colour says is put in terms of the decoded levels.

    Of an RGB picture of 16 bits Pillow keeps the upper 8, but the colour is one of 16: `reopen` gives the picture
    once more, to decode the lower 8.
    """
    rawmode = _rawmode(image)
    image.load()
    transparent = image.info.get("transparency")
    if rawmode in _OF_FEW_BITS and isinstance(transparent, int):
        image.info["transparency"] = transparent * _OF_FEW_BITS[rawmode]
    elif rawmode == "RGB;16B" and isinstance(transparent, tuple):
        lower = reopen()
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # type: ignore[attr-defined]
        lower.load()
        levels = [level >> 8 for level in transparent] + [level & 255 for level in transparent]
        image.paste("white", mask=_equal((*image.split(), *lower.split()), levels))
        del image.info["transparency"]
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """The loaded picture as RGB: greys of many levels scaled to 8 bits, transparency laid over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return image.convert("RGB")


def _rawmode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    return str(tiles[0].args) if tiles and image.format == "PNG" else ""


def _equal(channels: tuple[Image.Image, ...], levels: list[int]) -> Image.Image:
    """255 where every channel has its level, else 0."""
    mask = Image.new("L", channels[0].size, 255)
    for channel, level in zip(channels, levels, strict=True):
        mask = ImageChops.darker(mask, channel.point([255 * (value == level) for value in range(256)]))
    return mask


def _eight_bits(image: Image.Image) -> Pixels:
    """Grey of 16 or 32 bits, or float → 8 bits, rounded."""
    tags = getattr(image, "tag_v2", {})
    stored: Array = np.asarray(image)
    if image.mode == "I" and tags and _first(tags, _SAMPLE_FORMAT, 1) != _SIGNED:
        stored = stored.view(np.uint32)
    transparent = image.info.get("transparency")
    ground = stored == transparent if isinstance(transparent, int) else None
    values = stored.astype(np.float32)
    if image.mode == "F":
        np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    values *= np.float32(255 / _white(image, values, tags))
    np.rint(values, out=values)
    levels = np.clip(values, 0, 255, out=values).astype(np.uint8)
    if tags and _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        levels = 255 - levels
    if ground is not None:
        levels[ground] = 255
    return levels


def _white(image: Image.Image, values: NDArray[np.float32], tags: Any) -> float:
    """The value that is white: what the format says, or, where it leaves that open, what the values suggest."""
    top = float(values.max(initial=0.0))
    if image.mode == "F":
        return 1.0 if top <= 1 else 255.0
    bits = int(_first(tags, _BITS_PER_SAMPLE, 16))
    if image.mode != "I":
        return 2.0**bits - 1
    if top <= 255:
        return 255.0
    if bits == 32 and top <= 65535:
        return 65535.0
    return 2.0 ** (bits - (_first(tags, _SAMPLE_FORMAT, 1) == _SIGNED)) - 1


def _first(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
