"""Format and size of an image file, by its header. Nothing is decoded here."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from service.images.avif import decoded_pixels
from service.images.containers import (
    PNG_SIGNATURE,
    check_gif_comments,
    check_tiff_tiles,
    check_webp_chunks,
    png_size,
    png_without_comments,
)
from service.images.errors import EmptyImage, ImageTooLarge, UndecodableImage, UnknownFormat
from service.images.jpeg import JPEG_SIGNATURE, check_segments, jpeg_size
from service.images.limits import MAX_PIXELS, MAX_PIXELS_BESIDE, MAX_PIXELS_COPIED, MAX_SIDE

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def signature(data: bytes) -> str | None:
    """Return the format that the first bytes announce, one of `FORMATS`; None if they announce none."""
    if data.startswith(JPEG_SIGNATURE):
        return "JPEG"
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if any(brand in _AVIF_BRANDS for brand in _brands(data)):
        return "AVIF"
    return None


def known_format(data: bytes) -> str:
    """Return the format of the file, one of `FORMATS`.

    Raises:
        EmptyImage: there are no bytes.
        UnknownFormat: the bytes announce no format that is decoded.
    """
    if not data:
        raise EmptyImage("There are no bytes where an image should be.")
    kind = signature(data)
    if kind is None:
        if not _HEIC_BRANDS.isdisjoint(_brands(data)):
            raise UnknownFormat(f"The image is HEIC (HEIF), which is not decoded; {', '.join(FORMATS)} are.")
        raise UnknownFormat(f"The bytes begin like none of {', '.join(FORMATS)}.")
    return kind


def _brands(data: bytes) -> tuple[bytes, ...]:
    """Return the major brand of an ISO base media file (AVIF, HEIC, MP4) and the brands that it is compatible with."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), len(data), 1024)
    return (data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4)))


def quick_pixel_count(data: bytes) -> int | None:
    """Return the number of pixels of a JPEG or PNG, within microseconds; None for other formats and odd files."""
    size = _quick_size(data)
    return None if size is None else size[0] * size[1]


def _quick_size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(JPEG_SIGNATURE):
        return jpeg_size(data)
    if data.startswith(PNG_SIGNATURE):
        return png_size(data)
    return None


def pixel_count(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Return the number of pixels by the header.

    Raises:
        ImageError: the file is empty, of no known format, without a readable header, or larger than `max_pixels`
            or `MAX_SIDE`.
    """
    kind = known_format(data)
    if kind in ("WEBP", "AVIF"):
        max_pixels = min(max_pixels, MAX_PIXELS_COPIED)
    size = _quick_size(data)
    if size is None:
        with open_image(data, kind) as image:
            size = image.size
    width, height = size
    if width * height > max_pixels:
        pixels = f"{width:,} × {height:,} = {width * height:,} pixels"
        raise ImageTooLarge(f"The image has {pixels}; the limit is {max_pixels:,}.")
    if max(size) > MAX_SIDE:
        raise ImageTooLarge(f"The image has {width:,} × {height:,} pixels; a side may have {MAX_SIDE:,}.")
    return width * height


def open_image(data: bytes, kind: str) -> Image.Image:
    """Open the file with Pillow, which reads the header and decodes nothing yet.

    Raises:
        ImageError: Pillow cannot read the header, the file says two different sizes, or decoding it would cost far
            more than its pixels.
    """
    if kind == "JPEG":
        check_segments(data)
    elif kind == "PNG":
        data = png_without_comments(data)
    elif kind == "GIF":
        check_gif_comments(data)
    elif kind == "WEBP":
        check_webp_chunks(data)
    elif kind == "AVIF":
        data = _with_a_brand_that_pillow_knows(data)
    elif kind == "TIFF":
        check_tiff_tiles(data)
    pixels = decoded_pixels(data) if kind == "AVIF" else 0
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge("The image has far too many pixels.") from None
    except Exception as error:  # a broken file makes Pillow's decoders raise anything
        raise UndecodableImage(f"The {kind} header cannot be read.") from error
    # The limits were checked against the quick size, and Pillow decodes its own.
    if (quick_size := _quick_size(data)) not in (None, image.size):
        raise UndecodableImage(f"The {kind} says two sizes, {quick_size} and {image.size}.")
    if pixels > (most := MAX_PIXELS_BESIDE + 2 * image.width * image.height):
        raise ImageTooLarge(f"The AVIF says {image.size}, and has {pixels} pixels; {most} are decoded at most.")
    return image


def _with_a_brand_that_pillow_knows(data: bytes) -> bytes:
    """Put an AVIF brand first: Pillow looks there only, and the format allows it anywhere (AVIF specification, 6)."""
    brands = _brands(data)
    if brands[0] in (*_AVIF_BRANDS, b"mif1", b"msf1"):
        return data
    brand = next(brand for brand in _AVIF_BRANDS if brand in brands)
    return data[:8] + brand + data[12:]
