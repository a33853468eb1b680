"""PaddlePaddle's `inference.yml`, as PaddleClas and PaddleX export it.

The operators of `PreProcess.transform_ops` are those of PaddleClas. It resizes with OpenCV, which samples points
where Pillow averages areas, and rounds the longer side to the nearest number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch, RuntimeMissing
from export.importing.flags.presets import IMAGENET_MEAN, IMAGENET_STD
from export.importing.folders.stated import Said, affine, numbers, whole

INFERENCE = "inference.yml"
FRACTION = re.compile(r"\s*([\d.]+(?:[eE]-?\d+)?)\s*(?:/\s*([\d.]+)\s*)?")
NUMBERED_LINE = re.compile(r"\d+\s+(.*)")
HARMLESS = {"ToCHWImage", "KeepKeys", "ToCHW"}
CV2_FILTERS = {None: "bilinear", "bilinear": "bilinear", "linear": "bilinear", "bicubic": "bicubic"}
PILLOW_FILTERS = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
INSTEAD = "say the preprocessing by flags, or with --preprocessing"


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionMismatch(f"{path.name}: it is no YAML") from error
    return found if isinstance(found, dict) else {}


def said_by_paddle(config: dict[str, Any], folder: Path) -> Said:
    """Return what `inference.yml` says; OptionMismatch for an operator or a form that no bundle can state."""
    said = Said()
    steps = (config.get("PreProcess") or {}).get("transform_ops") or []
    order = "rgb"
    for step in steps:
        name, arguments = next(iter(step.items())) if isinstance(step, dict) and step else (str(step), None)
        given: dict[str, Any] = arguments if isinstance(arguments, dict) else {}
        source = f"{INFERENCE}: {name}"
        if name == "DecodeImage":
            order = "rgb" if given.get("to_rgb", True) else "bgr"
        elif name == "ResizeImage":
            said.state(source, **_resized(given))
        elif name == "CropImage":
            said.state(source, size=_pair(given.get("size"), source), crop_rounding="down")
        elif name == "NormalizeImage":
            said.state(source, **_normalized(given, source, order))
        elif name not in HARMLESS:
            raise OptionMismatch(f"{INFERENCE}: the operator {name} is not known; {INSTEAD}")
    if steps:
        said.state(f"{INFERENCE}: DecodeImage" if order == "bgr" else "PaddleClas reads RGB", channels=order)
    resize = said.statements.get("resize")
    if "size" not in said.statements and resize is not None and isinstance(resize.value, tuple):
        said.state(resize.source, size=resize.value)
    _state_labels(said, config.get("PostProcess") or {}, folder)
    return said


def _resized(given: dict[str, Any]) -> dict[str, Any]:
    """Return the resize: `resize_short` for the shorter side, or `size`, which is a number or (width, height)."""
    where = f"{INFERENCE}: ResizeImage"
    named = given.get("interpolation")
    named = named.lower() if isinstance(named, str) else named
    backend = str(given.get("backend", "cv2")).lower()
    filter_ = CV2_FILTERS.get(named) if backend == "cv2" else (named or "bilinear")
    if filter_ not in PILLOW_FILTERS or backend not in ("cv2", "pil"):
        raise OptionMismatch(f"{where}: interpolation {named!r} of {backend} cannot be said by a bundle; {INSTEAD}")
    how = {"interpolation": filter_, "antialias": backend == "pil", "resize_rounding": "even"}
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
        return float(found[1]) / float(found[2] or 1)
    return numbers(value, where)[0]


def _pair(value: Any, where: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        return whole(value[0], where), whole(value[1], where)
    return whole(value, where), whole(value, where)


def _state_labels(said: Said, processing: dict[str, Any], folder: Path) -> None:
    """State the labels of the first way of answering that has some: a list, or a file of "number label" lines."""
    for name, given in processing.items():
        if not isinstance(given, dict):
            continue
        labels = given.get("label_list")
        if isinstance(labels, list) and labels:
            said.state(f"{INFERENCE}: {name}.label_list", labels=tuple(str(label) for label in labels))
            return
        file = given.get("class_id_map_file")
        if isinstance(file, str) and (found := folder / Path(file).name).is_file():
            lines = [line.strip() for line in found.read_text(encoding="utf-8").splitlines() if line.strip()]
            named = [match[1] if (match := NUMBERED_LINE.fullmatch(line)) else line for line in lines]
            said.state(f"{found.name} ({INFERENCE}: class_id_map_file)", labels=tuple(named))
            return
