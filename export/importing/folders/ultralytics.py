"""Ultralytics' classification exports, which describe themselves in the ONNX file's metadata.

`names` is a Python dict written as text, `imgsz` a list. Pixels are plain 0…1; the picture is prepared by their
`classify_transforms`: the shorter side becomes the size (a size that is no square is stretched to), bilinear,
then a centre crop.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.stated import INSTEAD, Said, shown, whole

SOURCE = "the file's metadata (Ultralytics)"


def is_ultralytics(metadata: Mapping[str, str]) -> bool:
    return "names" in metadata and "task" in metadata


def labels_of_ultralytics(metadata: Mapping[str, str]) -> Said:
    """Return the labels; OptionMismatch where they cannot be read."""
    said = Said()
    names = _literal(metadata, "names", "say --labels")
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        raise OptionMismatch("the file's metadata: names does not number its classes from 0; say --labels")
    said.state(f"{SOURCE}: names", labels=tuple(str(names[number]) for number in range(len(names))))
    return said


def said_by_ultralytics(metadata: Mapping[str, str]) -> Said:
    """Return how pictures are prepared; OptionMismatch where the network is no classifier or a size cannot be read."""
    if metadata["task"] != "classify":
        raise OptionMismatch(f"the file's metadata says that its task is {shown(metadata['task'])}, not 'classify'")
    said = Said()
    sides = _literal(metadata, "imgsz", INSTEAD) if "imgsz" in metadata else 224
    sides = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(sides, list) or len(sides) != 2:
        raise OptionMismatch(f"the file's metadata: imgsz is {shown(sides)}; {INSTEAD}")
    size = whole(sides[0], f"{SOURCE}: imgsz"), whole(sides[1], f"{SOURCE}: imgsz")
    said.state(f"{SOURCE}: imgsz", size=size)
    is_square = size[0] == size[1]
    said.state(
        "Ultralytics' classify_transforms",
        resize=size[0] if is_square else size,
        resize_side="shorter" if is_square else None,
        interpolation="bilinear",
        mean=(0.0,),
        std=(1.0,),
        scale=1.0,
        channels="rgb",
    )
    return said


def _literal(metadata: Mapping[str, str], key: str, advice: str) -> Any:
    """Read a Python literal; nothing in it is run."""
    try:
        return ast.literal_eval(metadata[key])
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise OptionMismatch(f"the file's metadata: {key} cannot be read; {advice}") from error
