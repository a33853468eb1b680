"""Conversion to RGB of 8 bits, by the rules in the docstring of `service/images/preprocess.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from PIL import Image, ImageChops

from service.contract.arrays import Array, Pixels

_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262
_SAMPLE_FORMAT: Final = 339
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2
_BAND: Final = 2**18
"""Pixels that are converted at a time: this takes little memory, and never holds the interpreter for long."""
_LEVEL_STEPS: Final = {"L;2": 85, "L;4": 17}
"""Pillow's raw mode for grey of 2 or 4 bits → distance of two levels when it spreads them over 0…255."""


def load(image: Image.Image, reopen: Callable[[], Image.Image]) -> Image.Image:
    """Decode the pixels, and bring the transparent colour of a PNG to the levels of the decoded pixels.

    Pillow keeps the upper 8 bits of an RGB picture of 16 bits, while its transparent colour has all 16. `reopen` opens
    the picture once more, to decode the lower 8 bits too.
    """
    rawmode = _rawmode(image)
    image.load()
    transparent = image.info.get("transparency")
    if rawmode in _LEVEL_STEPS and isinstance(transparent, int):
        image.info["transparency"] = transparent * _LEVEL_STEPS[rawmode]
    elif rawmode == "RGB;16B" and isinstance(transparent, tuple):
        lower = reopen()
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # type: ignore[attr-defined]
        lower.load()
        for box in _boxes(image):
            upper_is = _equal(image.crop(box), [level >> 8 for level in transparent])
            lower_is = _equal(lower.crop(box), [level & 255 for level in transparent])
            image.paste("white", box, mask=ImageChops.darker(upper_is, lower_is))
        del image.info["transparency"]
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture to RGB: grey of more than 8 bits is scaled to 8, transparency is laid over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        picture = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return image.convert("RGB")


def _rawmode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    return str(tiles[0].args) if tiles and image.format == "PNG" else ""


def _equal(image: Image.Image, levels: list[int]) -> Image.Image:
    """Return a mask: 255 where every channel has its level, else 0."""
    mask = Image.new("L", image.size, 255)
    for channel, level in enumerate(levels):
        equal = image.getchannel(channel).point([255 * (value == level) for value in range(256)])
        mask = ImageChops.darker(mask, equal)
    return mask


def _eight_bits(image: Image.Image) -> Pixels:
    """Scale grey of 16 or 32 bits, or of floats, to 8 bits, rounded."""
    tags = getattr(image, "tag_v2", {})
    transparent = image.info.get("transparency")
    white = _white(image, tags)
    levels = np.empty((image.height, image.width), np.uint8)
    for top, stored in _bands(image, tags):
        values = stored.astype(np.float32)
        values *= np.float32(255 / white)
        band = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
        if _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
            band = 255 - band
        if isinstance(transparent, int):
            band[stored == transparent] = 255
        levels[top : top + len(band)] = band
    return levels


def _white(image: Image.Image, tags: Any) -> float:
    """Return the value that is white: by the format, or by the values where the format leaves it open."""
    bits = _first(tags, _BITS_PER_SAMPLE, 16)
    if image.mode.startswith("I;16"):
        return 2.0**bits - 1
    top = max(float(band.max(initial=0)) for _, band in _bands(image, tags))
    if image.mode == "F":
        return 1.0 if top <= 1 else 255.0
    if top <= 255:
        return 255.0
    if bits == 32 and top <= 65535:
        return 65535.0
    return 2.0 ** (bits - (_first(tags, _SAMPLE_FORMAT, 1) == _SIGNED)) - 1


def _bands(image: Image.Image, tags: Any) -> Iterator[tuple[int, Array]]:
    """Yield the values some rows at a time: the number of the first row, and the rows."""
    for box in _boxes(image):
        band: Array = np.asarray(image.crop(box))
        if image.mode == "F":
            band = np.nan_to_num(band, nan=0.0, posinf=255.0, neginf=0.0)
        elif image.mode == "I" and _first(tags, _SAMPLE_FORMAT, 1) != _SIGNED:
            band = band.view(np.uint32)
        yield box[1], band


def _boxes(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes that cut the picture into bands of whole rows."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)


def _first(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
