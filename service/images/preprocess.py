"""From the bytes of an image file to the tensor that a network reads.

    decode     bytes → pixels      uint8 [height, width, channels], resized and cropped for the bundle
    normalise  pixels → tensor     float32, as `InputSpec` says

Rules for pictures that are not plain RGB, the same for every file format:

    transparency (RGBA, LA, palette)    laid over white; so is the one transparent colour of a PNG
    palette, 1 bit, grey                converted to RGB
    grey of 12 or 16 bits               scaled to 8 bits; the largest number of so many bits is white
    integer grey of 32 bits, or signed  white is 255 if no value is above it; else 65535 if there are 32 bits and no
                                        value is above it; else the largest number of so many bits. Negative is black
    float grey                          0…1 is black…white if no value is above 1, else 0…255
    CMYK, YCbCr, LAB, HSV               Pillow's conversion (no colour profile is applied)
    animation                           only the first frame is used
    EXIF orientation                    applied unless the bundle says otherwise (Pillow always applies it to TIFF)

A file whose damage touches no pixel is decoded, as browsers do: a JPEG without its end marker, a PNG with a wrong
checksum in an ancillary chunk (which is left out), an AVIF under another brand. A file whose pixels are cut short is
refused.

libjpeg-turbo decodes a JPEG directly where its pixels equal Pillow's: grey, and YCbCr with the usual subsamplings.
Pillow decodes everything else, and whatever the direct way refuses. The size in the header is checked before anything
is decoded.
"""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.contract.arrays import Pixels
from service.contract.bundle_schema import InputSpec
from service.images.colours import as_rgb, load
from service.images.errors import ImageError, UndecodableImage
from service.images.files import known_format, open_image, pixel_count
from service.images.jpeg import EXIF, check_scans, check_segments, with_end_marker
from service.images.limits import MAX_PIECES, MAX_PIXELS
from service.images.resampling import as_array, fit

_ORIENTATION_TAG = 0x0112

# Colour space and subsampling for which libjpeg-turbo's pixels equal Pillow's.
_EQUAL_SUBSAMPLINGS = frozenset({("YCbCr", "444"), ("YCbCr", "422"), ("YCbCr", "420"), ("Gray", "Gray")})

# EXIF orientation → how the decoded pixels [h, w, c] are turned upright.
_ORIENTATIONS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
_FIRST_ON_ITS_SIDE = 5


def decode(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode the picture in `data`, resized and cropped as the bundle says: uint8 [height, width, channels].

    Channels are RGB, or the one channel of grey, whatever `spec.channel_order` is; `normalise` reorders them.

    Raises:
        ImageError: the file cannot be used; the subclass and the message say why.
    """
    pixels, size = _decoded(data, spec, max_pixels)
    return fit(pixels, spec, size)


def decode_whole(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode the picture in `data` at its own size: uint8 [height, width, channels].

    Raises:
        ImageError: as `decode`.
    """
    return _decoded(data, spec, max_pixels)[0]


def _decoded(data: bytes, spec: InputSpec, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Return the pixels, and the height and width that they would have if a JPEG were not decoded to a smaller size."""
    kind = known_format(data)
    if kind == "JPEG" and (decoded := _decode_jpeg(data, spec, max_pixels)) is not None:
        return decoded
    pixel_count(data, max_pixels)
    if kind == "JPEG" and (mended := _with_end_marker(data)) is not None:
        return _decoded(mended, spec, max_pixels)
    pixels = _decode_by_pillow(data, kind, spec)
    return pixels, pixels.shape[:2]


def normalise(pixels: Pixels, spec: InputSpec) -> NDArray[np.float32]:
    """Make the tensor `input` of pixels, uint8 [n, h, w, c]: ((pixel / 255) − mean) / std · scale, in float32.

    The operations and their order are those of torchvision's `ToTensor` and `Normalize`, so that the result is equal
    to theirs bit for bit.
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
    """Put a mean or std, which is given for RGB, into the order of the tensor's channels."""
    return np.array(values[::-1] if spec.channel_order == "bgr" else values, dtype=np.float32)


def _decode_jpeg(data: bytes, spec: InputSpec, max_pixels: int) -> tuple[Pixels, tuple[int, int]] | None:
    """Decode by libjpeg-turbo itself; None where Pillow has to decode, or to refuse an image that is too large."""
    # libjpeg-turbo keeps every segment that may hold a colour profile (APP2).
    if data.count(b"\xff\xe2") > MAX_PIECES:
        check_segments(data)
    check_scans(data, max_pixels)
    try:
        height, width, colorspace, subsampling = simplejpeg.decode_jpeg_header(data)
        if (colorspace, subsampling) not in _EQUAL_SUBSAMPLINGS or int(height) * int(width) > max_pixels:
            return None
        size = int(height), int(width)
        least_height, least_width = _least_decoded_size(*size, spec)
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB" if spec.channels == 3 else "GRAY", min_height=least_height, min_width=least_width
        )
    except (ValueError, KeyError):
        return None
    if spec.channels == 1 and colorspace != "Gray":
        return None  # luma differs from the grey that Pillow computes from RGB
    if spec.apply_exif_orientation and EXIF in data:
        check_segments(data)  # Pillow reads the orientation, and lists all segments to find it
        orientation = _orientation(data)
        if (turn := _ORIENTATIONS.get(orientation)) is not None:
            pixels = np.ascontiguousarray(turn(pixels))
            size = size if orientation < _FIRST_ON_ITS_SIDE else size[::-1]
    return pixels, size


def _with_end_marker(data: bytes) -> bytes | None:
    """Return a JPEG that lacks its end marker and nothing else, completed with it; else None.

    Both decoders have a lenient mode, but it fills pixels that were cut off with grey. With the marker there,
    libjpeg-turbo reports whether pixels are missing.
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
    """Return the least height and width to decode at: twice the size wanted, so that resizing still averages.

    (0, 0) stands for the full size, which a picture that is sampled at points always has. Both sides get the same
    bound, so that it holds for any orientation.
    """
    if not spec.reduced_jpeg_decoding or not spec.antialias:
        return 0, 0
    wanted = spec.resize or (spec.height, spec.width)
    least = 2 * (wanted if isinstance(wanted, int) else max(wanted))
    return (least, least) if min(height, width) > least else (0, 0)


def _orientation(data: bytes) -> int:
    try:
        return int(Image.open(io.BytesIO(data), formats=("JPEG",)).getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block says nothing of the orientation
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
    except Exception as error:  # a broken file makes Pillow's decoders raise anything
        raise UndecodableImage(f"The {kind} data is broken or cut short.") from error


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # a broken EXIF block says nothing of the orientation
        ImageOps.exif_transpose(image, in_place=True)
