"""From the bytes of an image file to the numbers a network reads.

    decode     bytes → pixels      uint8 [height, width, channels], resized and cropped for the bundle
    normalise  pixels → tensor     float32, as `InputSpec` says

Rules for pictures that are not plain RGB, the same whatever the file format:

    transparency (RGBA, LA, palette)    laid over white
    palette, 1 bit, grey                converted to RGB
    16-bit grey                         scaled to 8 bits (Pillow's own conversion would clip)
    float grey                          0…1 is black…white if nothing is above 1, else 0…255
    CMYK, YCbCr, LAB, HSV               Pillow's conversion (no colour profile is applied)
    animation                           the first frame
    EXIF orientation                    applied unless the bundle says otherwise (Pillow always does for TIFF)

JPEG is decoded by libjpeg-turbo directly where its pixels equal Pillow's (grey, and YCbCr with the
usual subsamplings); Pillow decodes everything else, and whatever the direct way refuses. A picture
is measured by its header before anything is decoded.

This file imports nothing of `service` but the schema: the exporter uses it too.
"""

from __future__ import annotations

import io
from typing import ClassVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.bundle_schema import InputSpec

Pixels = NDArray[np.uint8]

MAX_PIXELS = 25_000_000
MAX_PIXELS_COPIED = 16_000_000
"""Of WEBP and AVIF: Pillow copies their pixels at once and holds the interpreter for it, 40 ms for so many."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_ORIENTATION_TAG = 0x0112
_EQUAL_SUBSAMPLINGS = frozenset({("YCbCr", "444"), ("YCbCr", "422"), ("YCbCr", "420"), ("Gray", "Gray")})
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Starts of frames, of whatever kind; the three others define tables, or are reserved."""
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_ORIENTATIONS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


class ImageError(Exception):
    """An image that cannot be taken; the same four attributes as the service's own errors."""

    status: ClassVar[int] = 422
    slug: ClassVar[str] = "undecodable-image"
    title: ClassVar[str] = "The image cannot be decoded"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EmptyImage(ImageError):
    status, slug, title = 400, "empty-image", "The image has no bytes"


class UnknownFormat(ImageError):
    status, slug, title = 415, "unknown-image-format", "The bytes are no image of a known format"


class UndecodableImage(ImageError):
    pass


class ImageTooLarge(ImageError):
    status, slug, title = 413, "image-too-large", "The image has too many pixels"


def signature(data: bytes) -> str | None:
    """The format that the first bytes announce (one of `FORMATS`), or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return None


def quick_pixel_count(data: bytes) -> int | None:
    """Pixels by the header of a JPEG or PNG, in microseconds; None for anything else or odd."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_pixel_count(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    return None


def _jpeg_pixel_count(data: bytes) -> int | None:
    """Height times width by the first start-of-frame segment (ITU-T T.81, B.2); None where there is none.

    Not by the decoder's library, which gives the interpreter away meanwhile: a busy event loop waits long for it.
    """
    start = 2
    while start + 9 <= len(data) and data[start] == 0xFF:
        if data[start + 1] in _FRAME_MARKERS:
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            return int.from_bytes(height, "big") * int.from_bytes(width, "big")
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return None


def pixel_count(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Pixels by the header; nothing is decoded.

    Raises:
        ImageError: empty, of no known format, without a readable header, or over `max_pixels`.
    """
    kind = _known_format(data)
    if kind in ("WEBP", "AVIF"):
        max_pixels = min(max_pixels, MAX_PIXELS_COPIED)
    pixels = quick_pixel_count(data)
    if pixels is None:
        with _open(data, kind) as image:
            pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageTooLarge(f"The image has {pixels} pixels; the limit is {max_pixels}.")
    return pixels


def decode(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture in `data`, resized and cropped as the bundle says: uint8 [height, width, channels].

    Channels are in RGB order (or the one grey channel) whatever `spec.channel_order` is:
    `normalise` reorders.

    Raises:
        ImageError: what is wrong with the file, as one of its subclasses.
    """
    kind = _known_format(data)
    pixels = _decode_jpeg(data, spec, max_pixels) if kind == "JPEG" else None
    if pixels is None:
        pixel_count(data, max_pixels)
        pixels = _decode_by_pillow(data, kind, spec)
    if pixels.shape != (spec.height, spec.width, spec.channels):
        pixels = _fit(pixels, spec)
    return pixels


def normalise(pixels: Pixels, spec: InputSpec) -> NDArray[np.float32]:
    """uint8 [n, h, w, c] → the tensor `input`: ((pixel / 255) − mean) / std · scale, in float32.

    The operations and their order are those of torchvision's `ToTensor` and `Normalize`, so the
    result is equal to theirs bit for bit.
    """
    if spec.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    tensor = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
    per_channel = (-1, 1, 1)
    tensor /= np.float32(255)
    tensor -= _in_channel_order(spec.mean, spec).reshape(per_channel)
    tensor /= _in_channel_order(spec.std, spec).reshape(per_channel)
    if spec.scale != 1.0:
        tensor *= np.float32(spec.scale)
    return tensor if spec.layout == "nchw" else np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))


def _in_channel_order(values: tuple[float, ...], spec: InputSpec) -> NDArray[np.float32]:
    """Mean and std are given for RGB; the tensor may be BGR."""
    return np.array(values[::-1] if spec.channel_order == "bgr" else values, dtype=np.float32)


def _known_format(data: bytes) -> str:
    if not data:
        raise EmptyImage("There are no bytes where an image should be.")
    kind = signature(data)
    if kind is None:
        raise UnknownFormat(f"The bytes begin like none of {', '.join(FORMATS)}.")
    return kind


def _open(data: bytes, kind: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge("The image has far too many pixels.") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them raise
        raise UndecodableImage(f"The {kind} header cannot be read.") from error


def _decode_jpeg(data: bytes, spec: InputSpec, max_pixels: int) -> Pixels | None:
    """The pixels by libjpeg-turbo itself, or None where Pillow has to do it, or judge it too large."""
    try:
        height, width, colorspace, subsampling = simplejpeg.decode_jpeg_header(data)
        if (colorspace, subsampling) not in _EQUAL_SUBSAMPLINGS or int(height) * int(width) > max_pixels:
            return None
        least_height, least_width = _least_decoded_size(int(height), int(width), spec)
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB" if spec.channels == 3 else "GRAY", min_height=least_height, min_width=least_width
        )
    except (ValueError, KeyError):
        return None
    if spec.channels == 1 and colorspace != "Gray":
        return None  # luma is not quite what Pillow's conversion through RGB gives
    if spec.apply_exif_orientation and b"Exif\x00\x00" in data:
        turn = _ORIENTATIONS.get(_orientation(data))
        if turn is not None:
            pixels = np.ascontiguousarray(turn(pixels))
    return pixels


def _least_decoded_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """What reduced-scale decoding may go down to: twice the size wanted, so that resizing still averages.

    (0, 0) is the full size. Both sides get the same bound, which keeps for any orientation.
    """
    if not spec.reduced_jpeg_decoding:
        return 0, 0
    least = 2 * (spec.resize or max(spec.height, spec.width))
    return (least, least) if min(height, width) > least else (0, 0)


def _orientation(data: bytes) -> int:
    try:
        return int(Image.open(io.BytesIO(data), formats=("JPEG",)).getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block turns nothing
        return 1


def _decode_by_pillow(data: bytes, kind: str, spec: InputSpec) -> Pixels:
    image = _open(data, kind)
    try:
        image.load()
        if spec.apply_exif_orientation:
            image = _upright(image)
        image = _as_rgb(image)
        return _as_array(image if spec.channels == 3 else image.convert("L"))
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise UndecodableImage(f"The {kind} data is broken or cut short.") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block turns nothing
        return image


def _as_rgb(image: Image.Image) -> Image.Image:
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


def _eight_bits(image: Image.Image) -> Pixels:
    """Grey of 16 bits (65535 is white) or float (1 or 255 is white) → 8 bits, rounded."""
    values: NDArray[np.float32] = np.array(image, dtype=np.float32)
    if image.mode == "F":
        np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        values *= np.float32(255 if values.max(initial=0.0) <= 1 else 1)
    else:
        values /= np.float32(257)
    np.rint(values, out=values)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def _as_array(image: Image.Image) -> Pixels:
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _fit(pixels: Pixels, spec: InputSpec) -> Pixels:
    """torchvision's `Resize` and `CenterCrop`, by Pillow: uint8 [h, w, c] → [height, width, c]."""
    image = Image.fromarray(pixels if spec.channels == 3 else pixels[..., 0])
    width, height = resized_size(image.width, image.height, spec)
    if image.size != (width, height):
        image = image.resize((width, height), _RESAMPLING[spec.interpolation])
    if (width, height) != (spec.width, spec.height):
        image = _centre_crop(image, spec)
    return _as_array(image)


def resized_size(width: int, height: int, spec: InputSpec) -> tuple[int, int]:
    """Width and height after `Resize`: the shorter side becomes `spec.resize`, the longer is cut to whole pixels."""
    if spec.resize is None:
        return spec.width, spec.height
    if width <= height:
        return spec.resize, max(1, int(spec.resize * height / width))
    return max(1, int(spec.resize * width / height)), spec.resize


def _centre_crop(image: Image.Image, spec: InputSpec) -> Image.Image:
    """The middle height × width; a picture that is too small is put on black first (odd pixel below, right)."""
    missing_width, missing_height = max(0, spec.width - image.width), max(0, spec.height - image.height)
    if missing_width or missing_height:
        ground = Image.new(image.mode, (image.width + missing_width, image.height + missing_height))
        ground.paste(image, (missing_width // 2, missing_height // 2))
        image = ground
    left = round((image.width - spec.width) / 2)
    top = round((image.height - spec.height) / 2)
    return image.crop((left, top, left + spec.width, top + spec.height))
