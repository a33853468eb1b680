"""From the bytes of an image file to the numbers a network reads.

    decode     bytes → pixels      uint8 [height, width, channels], resized and cropped for the bundle
    normalise  pixels → tensor     float32, as `InputSpec` says

Rules for pictures that are not plain RGB, the same whatever the file format:

    transparency (RGBA, LA, palette)    laid over white; so is the one transparent colour of a PNG
    palette, 1 bit, grey                converted to RGB
    grey of 12 or 16 bits               scaled to 8 bits: the largest number that fits is white
    integer grey of 32 bits, or signed  255 is white if nothing is above; else, of 32 bits, 65535 if nothing is above;
                                        else the largest number that fits; below zero is black
    float grey                          0…1 is black…white if nothing is above 1, else 0…255
    CMYK, YCbCr, LAB, HSV               Pillow's conversion (no colour profile is applied)
    animation                           the first frame
    EXIF orientation                    applied unless the bundle says otherwise (Pillow always does for TIFF)

Files that are damaged where no pixel is are decoded, as browsers do: a JPEG without its end marker, a PNG with a wrong
checksum in an ancillary chunk (which is left out), AVIF under another brand. One whose pixels are cut short is refused.

JPEG is decoded by libjpeg-turbo directly where its pixels equal Pillow's (grey, and YCbCr with the
usual subsamplings); Pillow decodes everything else, and whatever the direct way refuses. A picture
is measured by its header before anything is decoded.

    images             here: decode, normalise
    image_files        what a file says before it is decoded
    avif, av1          what an AVIF makes its decoder hold, by its boxes and by the streams in them
    image_colours      to RGB of 8 bits
    resampling         resize and crop
    image_errors       why an image is not taken

These files import nothing else of `service` but the schema: the exporter uses them too.
"""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.contract.bundle_schema import InputSpec
from service.images.colours import as_rgb, load
from service.images.errors import EmptyImage, ImageError, ImageTooLarge, UndecodableImage, UnknownFormat
from service.images.files import (
    EXIF,
    FORMATS,
    MAX_PIECES,
    MAX_PIXELS,
    MAX_PIXELS_COPIED,
    check_scans,
    check_segments,
    known_format,
    open_image,
    pixel_count,
    quick_pixel_count,
    signature,
    with_end_marker,
)
from service.images.resampling import as_array, fit, resized_size

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MAX_PIXELS_COPIED",
    "EmptyImage",
    "ImageError",
    "ImageTooLarge",
    "Pixels",
    "UndecodableImage",
    "UnknownFormat",
    "decode",
    "normalise",
    "pixel_count",
    "quick_pixel_count",
    "resized_size",
    "signature",
    "whole",
]

Pixels = NDArray[np.uint8]

_ORIENTATION_TAG = 0x0112
_EQUAL_SUBSAMPLINGS = frozenset({("YCbCr", "444"), ("YCbCr", "422"), ("YCbCr", "420"), ("Gray", "Gray")})
_ORIENTATIONS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def decode(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture in `data`, resized and cropped as the bundle says: uint8 [height, width, channels].

    Channels are in RGB order (or the one grey channel) whatever `spec.channel_order` is:
    `normalise` reorders.

    Raises:
        ImageError: what is wrong with the file, as one of its subclasses.
    """
    pixels = whole(data, spec, max_pixels)
    return pixels if pixels.shape == (spec.height, spec.width, spec.channels) else fit(pixels, spec)


def whole(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture before it is resized and cropped: uint8 [its own height, its own width, channels].

    Raises:
        ImageError: as `decode`.
    """
    kind = known_format(data)
    pixels = _decode_jpeg(data, spec, max_pixels) if kind == "JPEG" else None
    if pixels is None:
        pixel_count(data, max_pixels)
        if kind == "JPEG" and (mended := _with_end_marker(data)) is not None:
            return whole(mended, spec, max_pixels)
        pixels = _decode_by_pillow(data, kind, spec)
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


def _decode_jpeg(data: bytes, spec: InputSpec, max_pixels: int) -> Pixels | None:
    """The pixels by libjpeg-turbo itself, or None where Pillow has to do it, or judge it too large."""
    if data.count(b"\xff\xe2") > MAX_PIECES:  # libjpeg-turbo keeps every segment that may hold a colour profile
        check_segments(data)
    check_scans(data, max_pixels)
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
    if spec.apply_exif_orientation and EXIF in data:
        check_segments(data)  # Pillow, which is asked for the orientation, lists all of them
        turn = _ORIENTATIONS.get(_orientation(data))
        if turn is not None:
            pixels = np.ascontiguousarray(turn(pixels))
    return pixels


def _with_end_marker(data: bytes) -> bytes | None:
    """A JPEG that lacks its end marker and nothing else, with it; else None.

    Neither decoder's leniency is asked for: both would fill up with grey what was cut off. With the marker there,
    libjpeg-turbo tells whether it had to.
    """
    mended = with_end_marker(data)
    if mended is None:
        return None
    try:
        _, _, colorspace, _ = simplejpeg.decode_jpeg_header(mended)
        simplejpeg.decode_jpeg(mended, {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colorspace, "RGB"))
    except (ValueError, KeyError):
        return None
    return mended


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
    try:
        image = load(open_image(data, kind), lambda: open_image(data, kind))
        if spec.apply_exif_orientation:
            _turn_upright(image)
        image = as_rgb(image)
        return as_array(image if spec.channels == 3 else image.convert("L"))
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them raise
        raise UndecodableImage(f"The {kind} data is broken or cut short.") from error


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # a broken EXIF block turns nothing
        ImageOps.exif_transpose(image, in_place=True)
