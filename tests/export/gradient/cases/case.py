"""One case: one line of data per operator and attribute worth testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Computed:
    """An operand that another operator computes from operands, its output `output`."""

    operator: str
    operands: tuple[Any, ...]
    attributes: dict[str, Any]
    output: int = 0


@dataclass(frozen=True, eq=False)
class Case:
    """One operator between the image and a classifier, with a branch around it.

    `image` is the shape without the batch; `operands` are in order: "x" (the image plus a constant),
    "u" (another tensor computed from the image, same shape), None (absent), a constant array or a `Computed`;
    `domain` is the interval that x is drawn from; `outputs` counts the operator's outputs; `note` tells
    cases with the same attributes apart.
    """

    operator: str
    image: tuple[int, ...]
    operands: tuple[Any, ...] = ("x",)
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: tuple[float, float] = (-1.5, 1.5)
    outputs: int = 1
    note: str = ""

    def __str__(self) -> str:
        described = " ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.operator} {described} {self.note}".strip().replace("[", "").replace("]", "").replace(", ", ",")


def case(
    operator: str,
    image: Sequence[int],
    *operands: Any,
    domain: tuple[float, float] = (-1.5, 1.5),
    outputs: int = 1,
    note: str = "",
    **attributes: Any,
) -> Case:
    """A row of the table; without operands the operator takes x alone."""
    return Case(operator, tuple(image), operands or ("x",), attributes, domain, outputs, note)


def computed(operator: str, *operands: Any, output: int = 0, **attributes: Any) -> Computed:
    """An operand that is computed from others."""
    return Computed(operator, operands, attributes, output)


def w(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """A constant operand drawn from [low, high]."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    """A constant operand of axes, shapes or pads."""
    return np.array(values, dtype=np.int64)
