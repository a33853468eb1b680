"""Images as programs give them: paths, the bytes of image files, PIL images, numpy arrays, and lists of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.client.errors import ContraflowError
from service.output.system_errors import system_reason

GivenImage = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""A path, the bytes of an image file, a PIL image, or pixels as an array: uint8 [h, w], [h, w, 3] or [h, w, 4]."""

GivenImages = GivenImage | Sequence[GivenImage]
"""One image, or a list or tuple of them; an array uint8 [n, h, w, 3 or 4] is n images."""

WRITTEN_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA")
DEEPER_THAN_A_BYTE = ("I", "F")


def image_files(images: GivenImages) -> list[bytes]:
    """Return the bytes of one image file for each image. Pixels become PNG files, which lose nothing.

    Raises:
        ContraflowError: a file cannot be read, or something is no image.
    """
    several = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
    given: Sequence[Any] = list(images) if several else [images]  # type: ignore[arg-type]
    if not given:
        raise ContraflowError("there is no image in the list")
    return [_file(image) for image in given]


def _file(image: Any) -> bytes:
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).read_bytes()
        except (OSError, ValueError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else str(error)
            raise ContraflowError(f"{os.fspath(image)}: {reason}") from None
    if isinstance(image, Image.Image):
        return _png(image)
    if isinstance(image, np.ndarray):
        return _png(_as_picture(image))
    raise ContraflowError(
        f"an image is a path, the bytes of an image file, a PIL image or a numpy array, not {type(image).__name__}"
    )


def _as_picture(pixels: NDArray[Any]) -> Image.Image:
    shape = pixels.shape
    if pixels.dtype != np.uint8:
        raise ContraflowError(f"pixels are uint8, 0 to 255, before any normalization; this array is {pixels.dtype}")
    if pixels.ndim == 3 and shape[2] == 1:
        pixels = pixels[:, :, 0]
    if 0 in shape or not (pixels.ndim == 2 or (pixels.ndim == 3 and shape[2] in (3, 4))):
        raise ContraflowError(f"the array of an image is [h, w], [h, w, 3] or [h, w, 4], not {list(shape)}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _png(image: Image.Image) -> bytes:
    """Write the pixels of a picture alone, without the orientation and colour profile of a file it was read from.

    Raises:
        ContraflowError: the picture has more than 8 bits a channel.
    """
    if image.mode.split(";")[0] in DEEPER_THAN_A_BYTE:
        raise ContraflowError(f"a PIL image of mode {image.mode} has more than 8 bits a channel; give it as RGB or L")
    if image.mode not in WRITTEN_AS_THEY_ARE:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    buffer = io.BytesIO()
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    bare.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
