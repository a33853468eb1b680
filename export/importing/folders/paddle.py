"""PaddlePaddle's `inference.yml`, as PaddleClas and PaddleX export it.

The operators of `PreProcess.transform_ops` are those of PaddleClas. It resizes with OpenCV, which samples points
where Pillow averages areas, and rounds the longer side to the nearest number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from export.importing.flags.errors import OptionMismatch, RuntimeMissing
from export.importing.flags.labels import text_of
from export.importing.flags.options import Interpolation
from export.importing.flags.presets import IMAGENET_MEAN, IMAGENET_STD
from export.importing.folders.stated import INSTEAD, Said, affine, mapping, numbers, shown, whole

INFERENCE = "inference.yml"
FRACTION = re.compile(r"\s*([\d.]+(?:[eE]-?\d+)?)\s*(?:/\s*([\d.]+)\s*)?")
NUMBERED_LINE = re.compile(r"\d+\s+(.*)")
PLACING = ("ResizeImage", "CropImage")
HARMLESS = {"ToCHWImage", "KeepKeys", "ToCHW"}
CV2_FILTERS: dict[str | None, str] = {
    None: "bilinear",
    "bilinear": "bilinear",
    "linear": "bilinear",
    "bicubic": "bicubic",
}
PILLOW_FILTERS: dict[str | None, str] = {None: "bilinear"} | {name: name for name in get_args(Interpolation)}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of plain values.

    Raises RuntimeMissing without PyYAML, OptionMismatch where it is not YAML.
    """
    try:
        import yaml
    except ImportError:
        raise RuntimeMissing(f"{path.name} is YAML, and PyYAML is not installed: pip install pyyaml") from None
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionMismatch(f"{path.name}: it is no YAML") from error
    return found if isinstance(found, dict) else {}


def said_by_paddle(config: dict[str, Any]) -> Said:
    """Return how pictures are prepared; OptionMismatch for an operator or a form that no bundle can state."""
    said = Said()
    steps = mapping(config.get("PreProcess")).get("transform_ops") or []
    if not isinstance(steps, list):
        raise OptionMismatch(f"{INFERENCE}: transform_ops is {shown(steps)}, but a list is needed")
    named = [next(iter(mapping(step).items()), (shown(step), None)) for step in steps]
    placing = [name for name, _ in named if name in PLACING]
    if placing not in ([], [*PLACING[:1]], [*PLACING]):
        raise OptionMismatch(
            f"{INFERENCE}: {', '.join(placing)} is another order than a resize and then perhaps a crop; {INSTEAD}"
        )
    order = "rgb"
    for name, arguments in named:
        given = mapping(arguments)
        source = f"{INFERENCE}: {name}"
        if name == "DecodeImage":
            order = "rgb" if given.get("to_rgb", True) else "bgr"
        elif name == "ResizeImage":
            said.state(source, **_resized(given))
        elif name == "CropImage":
            width, height = _pair(given.get("size"), source)
            said.state(source, size=(height, width), crop_rounding="down")
        elif name == "NormalizeImage":
            said.state(source, **_normalized(given, source, order))
        elif name not in HARMLESS:
            raise OptionMismatch(f"{INFERENCE}: the operator {name} is not known; {INSTEAD}")
    if steps:
        said.state(f"{INFERENCE}: DecodeImage" if order == "bgr" else "PaddleClas reads RGB", channels=order)
    resize = said.statements.get("resize")
    if "size" not in said.statements and resize is not None and isinstance(resize.value, tuple):
        said.state(resize.source, size=resize.value)
    return said


def _resized(given: dict[str, Any]) -> dict[str, Any]:
    """Return the resize: `resize_short` for the shorter side, or `size`, which is a number or (width, height)."""
    where = f"{INFERENCE}: ResizeImage"
    named = given.get("interpolation")
    named = named.lower() if isinstance(named, str) else named
    backend = given.get("backend", "cv2")
    filters = {"cv2": CV2_FILTERS, "pil": PILLOW_FILTERS}.get(backend.lower() if isinstance(backend, str) else "", {})
    filter_ = filters.get(named) if named is None or isinstance(named, str) else None
    if filter_ is None:
        raise OptionMismatch(
            f"{where}: interpolation {shown(named)} of {shown(backend)} cannot be said by a bundle; {INSTEAD}"
        )
    how = {"interpolation": filter_, "antialias": filters is PILLOW_FILTERS, "resize_rounding": "even"}
    if given.get("resize_short"):
        return {"resize": whole(given["resize_short"], where), "resize_side": "shorter", **how}
    width, height = _pair(given.get("size"), where)
    return {"resize": (height, width), "resize_side": None, **how}


def _normalized(given: dict[str, Any], source: str, order: str) -> dict[str, Any]:
    """Return mean, std and scale of (pixel · scale − mean) / std; they come in the order of the picture's channels."""
    mean = numbers(given.get("mean") or list(IMAGENET_MEAN), f"{source}: mean")
    std = numbers(given.get("std") or list(IMAGENET_STD), f"{source}: std")
    if order == "bgr":
        mean, std = mean[::-1], std[::-1]
    factor = given.get("scale")
    mean, std, scale = affine(1 / 255 if factor is None else _number(factor, f"{source}: scale"), 0.0, mean, std)
    return {"mean": mean, "std": std, "scale": scale}


def _number(value: Any, where: str) -> float:
    """Read a number, or a fraction that is written as text: "1.0/255.0"."""
    if isinstance(value, str) and (found := FRACTION.fullmatch(value)):
        try:
            return float(found[1]) / float(found[2] or 1)
        except (ValueError, ZeroDivisionError) as error:
            raise OptionMismatch(f"{where} is {shown(value)}, but a number is needed") from error
    return numbers(value, where)[0]


def _pair(value: Any, where: str) -> tuple[int, int]:
    """Read a size: one number for both sides, or (width, height), in which order PaddleClas takes all of them."""
    if isinstance(value, list) and len(value) == 2:
        return whole(value[0], where), whole(value[1], where)
    return whole(value, where), whole(value, where)


def labels_of_paddle(config: dict[str, Any], folder: Path) -> Said:
    """Return the labels of the first way of answering that has some: a list, or a file of "number label" lines."""
    said = Said()
    for name, given in mapping(config.get("PostProcess")).items():
        if not isinstance(given, dict):
            continue
        labels = given.get("label_list")
        if isinstance(labels, list) and labels:
            if not all(isinstance(label, (str, int, float)) for label in labels):
                raise OptionMismatch(f"{INFERENCE}: label_list is {shown(labels)}, but texts are needed; say --labels")
            said.state(f"{INFERENCE}: {name}.label_list", labels=tuple(str(label) for label in labels))
            return said
        file = given.get("class_id_map_file")
        if isinstance(file, str) and (found := folder / Path(file).name).is_file():
            lines = [line.strip() for line in text_of(found).splitlines() if line.strip()]
            named = [match[1] if (match := NUMBERED_LINE.fullmatch(line)) else line for line in lines]
            said.state(f"{found.name} ({INFERENCE}: class_id_map_file)", labels=tuple(named))
            return said
    return said
