"""ONNX's own metadata of images: `Image.BitmapPixelFormat`, `Image.ColorSpaceGamma`, `Image.NominalPixelRange`.

docs/MetadataProps.md of ONNX defines them. They say nothing of how a picture is resized.
"""

from __future__ import annotations

from collections.abc import Mapping

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.stated import Said

PIXEL_FORMAT = "Image.BitmapPixelFormat"
GAMMA = "Image.ColorSpaceGamma"
PIXEL_RANGE = "Image.NominalPixelRange"

ORDERS = {"Gray8": "rgb", "Rgb8": "rgb", "Rgba8": "rgb", "Bgr8": "bgr", "Bgra8": "bgr"}
RANGES = {
    "NominalRange_0_255": {"mean": (0.0,), "std": (1.0,), "scale": 255.0},
    "Normalized_0_1": {"mean": (0.0,), "std": (1.0,), "scale": 1.0},
    "Normalized_1_1": {"mean": (0.5,), "std": (0.5,), "scale": 1.0},
}


def said_by_image_metadata(metadata: Mapping[str, str], where: str = "the file's metadata") -> Said:
    """Return the order of the channels and the range of the pixels, as far as they are stated.

    Raises OptionMismatch for a format, a gamma or a range that no bundle can state.
    """
    said = Said()
    if (order := metadata.get(PIXEL_FORMAT)) in ORDERS:
        said.state(f"{where}: {PIXEL_FORMAT}", channels=ORDERS[order])
    elif order is not None:
        raise OptionMismatch(
            f"{where}: {PIXEL_FORMAT} is {order!r}, none of {', '.join(ORDERS)}; "
            "say what is meant with --channels, --mean and --std"
        )
    if metadata.get(GAMMA, "SRGB").upper() == "LINEAR":
        raise OptionMismatch(
            f"{where}: {GAMMA} is Linear, but a bundle's pixels are the picture's (SRGB); "
            "say --mean and --std to take these"
        )
    if (range_ := metadata.get(PIXEL_RANGE)) in RANGES:
        said.state(f"{where}: {PIXEL_RANGE}", **RANGES[range_])
    elif range_ is not None:
        raise OptionMismatch(f"{where}: {PIXEL_RANGE} is {range_!r}; say what is meant with --mean and --std")
    return said
