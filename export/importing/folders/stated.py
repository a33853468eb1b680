"""Statements about a model, each with where it was found; and what the file itself shows before it is read whole."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import ModelProto

from export.graph.graph import open_inputs
from export.importing.flags.errors import OptionMismatch
from export.importing.flags.pixels import HOLDING_BYTES

UNCHANGED = 1e-6
"""A factor that differs from 1 by less is 1: 0.00392157 is written for 1/255."""

FINITE = 1e30
"""Bound of numbers that float32 holds with room to spare."""
LARGEST_SIDE = 2**20
"""Most pixels of a side; nothing that is larger is meant."""

INSTEAD = "say --mean, --std, --resize and --interpolation, or --preprocessing"
"""The advice where a folder does not settle how pictures are prepared."""

Rows = tuple[float, ...]


@dataclass(frozen=True)
class Stated:
    """A value for one field of `ImportOptions`, and its source in words, such as "config.json: id2label"."""

    value: Any
    source: str


Statements = dict[str, Stated]
"""Field of `ImportOptions` → what is stated of it; `name` and `version` are the bundle's."""


@dataclass
class Said:
    """All that one source says: statements, and notes for whoever reads the bundle."""

    statements: Statements = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def state(self, source: str, **values: Any) -> None:
        """Add statements of one source."""
        self.statements |= {name: Stated(value, source) for name, value in values.items()}


@dataclass(frozen=True)
class FileFacts:
    """The facts that an ONNX file shows without its weights.

    - `metadata`: its own metadata by key.
    - `image`: the four sizes of its only input, 0 where a size is open; None where it has no such input.
    - `integers`: its input takes whole numbers, so that no mean and std apply.
    """

    path: Path
    metadata: Mapping[str, str]
    image: tuple[int, int, int, int] | None
    integers: bool

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width where the file fixes both, else None; the axis of 1 or 3 channels is the first or last."""
        if self.image is None or 0 in self.image[1:]:
            return None
        _, first, second, third = self.image
        return (first, second) if third in (1, 3) and first not in (1, 3) else (second, third)

    def is_fixed_to(self, size: tuple[int, int]) -> bool:
        return self.size == size


def facts_of(path: Path, model: ModelProto) -> FileFacts:
    """Return what the parsed file at `path` shows."""
    inputs = [value.type.tensor_type for value in open_inputs(model.graph)]
    dimensions = inputs[0].shape.dim if len(inputs) == 1 else ()
    sizes = [max(0, dimension.dim_value) for dimension in dimensions]
    return FileFacts(
        path=path,
        metadata={entry.key: entry.value for entry in model.metadata_props},
        image=(sizes[0], sizes[1], sizes[2], sizes[3]) if len(sizes) == 4 else None,
        integers=len(inputs) == 1 and inputs[0].elem_type in HOLDING_BYTES,
    )


def affine(factor: float, offset: float, mean: Iterable[float], std: Iterable[float]) -> tuple[Rows, Rows, float]:
    """Return mean, std and scale of an `InputSpec` for (pixel · factor + offset − mean) / std, pixels in 0…255.

    Where pixels stay in 0…255, the scale is 255; otherwise it is 1.
    """
    mean, std = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    if factor == 1:
        return tuple((value - offset) / 255 for value in mean), std, 255.0
    unit = 255 * factor
    if abs(unit - 1) < UNCHANGED:
        unit = 1.0
    return tuple((value - offset) / unit for value in mean), tuple(value / unit for value in std), 1.0


def shown(value: Any) -> str:
    """Write a value that a stranger's file holds, cut short: its whole text may be of any length."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxdict = 2, 4, 4
    return brief.repr(value)


def mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is a map of texts, else an empty one."""
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else {}


def numbers(value: Any, where: str) -> Rows:
    """Return a number or a list of numbers as a tuple; OptionMismatch names `where` it is neither."""
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(_is_number(one) for one in values):
        raise OptionMismatch(f"{where} is {shown(value)}, but numbers are needed")
    return tuple(float(one) for one in values)


def whole(value: Any, where: str) -> int:
    """Return a positive whole number; OptionMismatch names `where` it is none."""
    if not _is_number(value) or value != int(value) or not 1 <= value <= LARGEST_SIDE:
        raise OptionMismatch(f"{where} is {shown(value)}, but a positive whole number is needed")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FINITE
