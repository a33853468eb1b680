"""The flags of `python -m export onnx`, all of them optional, and what each of them states."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.labels import read_labels
from export.importing.flags.options import Interpolation
from export.importing.flags.presets import MEANINGS, PRESETS
from service.contract.bundle_schema import LabelKindName

DESCRIPTION = """\
Differentiate an ONNX image classifier and write it as a bundle. PATH is an .onnx file or a model folder: of
transformers, optimum, timm, PaddlePaddle, Azure Custom Vision, Triton, or one with a file of labels. A flag wins over
the folder, and the folder over the file's own metadata. Where none of them says enough, the command stops and names the
flags that it needs.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the path and all flags."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    meanings = "\n".join(f"  {name:<10} {meaning}" for name, meaning in MEANINGS.items())
    parser.description = DESCRIPTION
    parser.epilog = f"--preprocessing:\n{meanings}"
    parser.add_argument("model", metavar="PATH", type=Path, help="the .onnx file, or a model folder")
    bundle = parser.add_argument_group("the bundle")
    bundle.add_argument("--name", help="of the bundle (default: that of the folder or file)")
    bundle.add_argument("--version", type=positive, help="number of the version (default: 1)")
    bundle.add_argument("--replace", action="store_true", help="replace a version that is there already")
    bundle.add_argument("--out", type=Path, default=Path("models/bundles"), help="folder of bundles (%(default)s)")
    bundle.add_argument("--file", help="which .onnx file of the folder, where it holds several")
    bundle.add_argument("--output", help="the tensor of scores, where the model has several outputs")
    bundle.add_argument("--labels", type=Path, help="one class a line, in the model's order (or JSON)")
    bundle.add_argument(
        "--labels-are",
        choices=get_args(LabelKindName),
        help="independent: an image has any number of the labels (default: as the file's last operators say, "
        "else exclusive)",
    )
    _add_pixels(parser.add_argument_group("pixels"))
    _add_geometry(parser.add_argument_group("resize and crop"))


def _add_pixels(group: Any) -> None:
    group.add_argument("--preprocessing", choices=PRESETS, help="a way that many networks share; listed below")
    group.add_argument("--mean", type=numbers, help="for RGB in [0, 1]: one value, or one per channel: 0.49,0.48,0.45")
    group.add_argument("--std", type=numbers, help="one value, or one per channel: 0.25,0.24,0.26")
    group.add_argument(
        "--scale", type=float, choices=(1.0, 255.0), help="255: the model wants 0…255 (and mean may be in it)"
    )
    group.add_argument("--channels", choices=("rgb", "bgr"), help="order of the channels (default: rgb)")
    group.add_argument("--layout", choices=("nchw", "nhwc"), help="default: where the axis of 1 or 3 channels is")


def _add_geometry(group: Any) -> None:
    group.add_argument("--size", type=size, help="HEIGHT,WIDTH where the model takes any")
    ways = group.add_mutually_exclusive_group()
    ways.add_argument(
        "--resize", type=resize, help="shorter side before the crop, or HEIGHT,WIDTH (default: straight to the size)"
    )
    ways.add_argument("--crop-fraction", type=fraction, help="share of the resized picture's side that the crop keeps")
    group.add_argument("--crop", type=positive, help="centre crop; must be the model's own size")
    group.add_argument("--letterbox", action="store_true", help="fit the longer side, and pad to a square")
    group.add_argument("--fill", type=colour, help="colour of the padding: one value of 0…255, or R,G,B (default: 0)")
    group.add_argument("--interpolation", choices=get_args(Interpolation), help="Pillow's filter (default: bilinear)")
    group.add_argument(
        "--no-antialias", action="store_true", help="sample points, as OpenCV and TensorFlow do, not areas"
    )


def stated_by_flags(options: argparse.Namespace) -> dict[str, Any]:
    """Return the value of each field of `ImportOptions` that a flag states.

    Raises OptionMismatch where the file of labels is unfit, or flags contradict each other.
    """
    if options.fill is not None and not options.letterbox:
        raise OptionMismatch("--fill: only --letterbox pads")
    if options.letterbox and isinstance(options.resize, tuple):
        raise OptionMismatch("--letterbox keeps the ratio of the sides, so --resize must be one number")
    names = (
        "mean",
        "std",
        "size",
        "scale",
        "channels",
        "layout",
        "resize",
        "crop_fraction",
        "crop",
        "output",
        "labels_are",
    )
    values = {name: getattr(options, name) for name in (*names, "interpolation")}
    given = {name: value for name, value in values.items() if value is not None}
    if options.no_antialias:
        given["antialias"] = False
    if options.labels is not None:
        given["labels"] = read_labels(options.labels)
    if options.letterbox:
        given |= {"resize_side": "longer", "fill": options.fill or (0, 0, 0), "resize_rounding": "even"}
    elif options.resize is not None or options.crop_fraction is not None:
        given["resize_side"] = None if isinstance(options.resize, tuple) else "shorter"
    return given


def numbers(text: str) -> tuple[float, ...]:
    parts = text.strip(" ()[]").replace(",", " ").split()
    try:
        found = tuple(float(part) for part in parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas between are needed") from error
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas between are needed")
    return found


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a positive whole number is needed")
    return int(text)


def size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r}: HEIGHT,WIDTH is needed")
    return positive(parts[0].strip()), positive(parts[1].strip())


def resize(text: str) -> int | tuple[int, int]:
    return positive(text) if text.isdecimal() else size(text)


def fraction(text: str) -> float:
    share = numbers(text)[0]
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a share above 0 and up to 1 is needed")
    return share


def colour(text: str) -> tuple[int, int, int]:
    values = numbers(text)
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3 or any(value != int(value) or not 0 <= value <= 255 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r}: one or three whole numbers of 0…255 are needed")
    return int(values[0]), int(values[1]), int(values[2])
