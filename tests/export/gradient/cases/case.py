"""The table: one line of data per operator and attribute worth testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Case:
    """One operator between the image and a classifier, with a branch around it.

    `image` is the shape without the batch; `operands` are in order: "x" (the image plus a constant),
    "u" (another tensor computed from the image, same shape), None (absent), or a constant array;
    `domain` is the interval that x is drawn from; `weights` counts the operands that are layers,
    `others` those that are other parameters.
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


def w(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """A constant operand drawn from [low, high]."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    """A constant operand of axes, shapes or pads."""
    return np.array(values, dtype=np.int64)


CONV = [
    case("Conv", (3, 6, 7), "x", w(4, 3, 3, 3), w(4), pads=[1, 1, 1, 1]),
    case("Conv", (3, 6, 7), "x", w(4, 3, 1, 1), note="pointwise"),
    case("Conv", (3, 6, 7), "x", w(4, 3, 1, 1), w(4), strides=[2, 2], note="pointwise"),
    case("Conv", (3, 8, 8), "x", w(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], note="even size"),
    case("Conv", (3, 7, 9), "x", w(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], note="odd size"),
    case("Conv", (2, 9, 8), "x", w(3, 2, 3, 2), strides=[3, 2], pads=[0, 1, 2, 0], note="asymmetric pads"),
    case("Conv", (2, 9, 8), "x", w(3, 2, 3, 3), dilations=[2, 1], pads=[2, 0, 1, 2]),
    case("Conv", (2, 9, 9), "x", w(3, 2, 3, 3), dilations=[2, 2], strides=[2, 3], pads=[1, 2, 2, 1]),
    case("Conv", (4, 6, 6), "x", w(6, 2, 3, 3), w(6), group=2, pads=[1, 1, 1, 1]),
    case("Conv", (4, 7, 6), "x", w(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1], note="depthwise"),
    case("Conv", (4, 7, 6), "x", w(8, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1], note="depthwise"),
    case("Conv", (2, 7, 7), "x", w(3, 2, 5, 5), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("Conv", (2, 6, 7), "x", w(3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    case("Conv", (2, 6, 7), "x", w(3, 2, 3, 3), auto_pad="VALID"),
    case("Conv", (2, 5, 5), "x", w(3, 2, 2, 2), pads=[2, 2, 2, 2], note="padded beyond the kernel"),
    case("Conv", (2, 11, 11), "x", w(3, 2, 3, 3), strides=[4, 4], pads=[1, 1, 1, 1], note="stride beyond the kernel"),
    case("Conv", (3, 13), "x", w(4, 3, 5), w(4), strides=[2], pads=[2, 1], note="one axis"),
]

LINEAR = [
    case("Gemm", (6,), "x", w(6, 4), w(4)),
    case("Gemm", (6,), "x", w(4, 6), w(4), transB=1, alpha=0.5, beta=2.0),
    case("Gemm", (6,), "x", w(4, 6), transB=1, note="no bias"),
    case("Gemm", (6,), "x", w(4, 6), w(), transB=1, note="one bias for all"),
    case("MatMul", (6,), "x", w(6, 4)),
    case("MatMul", (5, 6), "x", w(6, 4), note="tokens, direct"),
    case("MatMul", (2, 5, 6), "x", w(6, 4), note="tokens of two axes"),
    case("MatMul", (2, 8, 9), "x", w(9, 12), note="ghost norm", domain=(-0.5, 0.5)),
    case("MatMul", (5, 6), w(3, 5), "x", note="constant on the left"),
    case("MatMul", (4, 4), "x", "u", note="both computed"),
]

ACTIVATION = [
    case("Relu", (3, 4)),
    case("Sigmoid", (3, 4)),
    case("Tanh", (3, 4)),
]

ELEMENTWISE = [
    case("Add", (3, 4), "x", "u"),
    case("Add", (3, 4), "x", w(3, 1)),
    case("Add", (3, 4), w(1, 1, 4), "x"),
    case("Mul", (3, 4), "x", "u"),
    case("Mul", (3, 4), "x", w(1, 4)),
    case("Mul", (3, 4), "x", "x", note="squared"),
]

NORMALIZATION = [
    case("BatchNormalization", (3, 4, 5), "x", w(3), w(3), w(3), w(3, seed=1, low=0.5, high=2.0), epsilon=1e-3),
    case("BatchNormalization", (3,), "x", w(3), w(3), w(3), w(3, seed=1, low=0.5, high=2.0), note="no positions"),
]

POOL = [
    case("GlobalAveragePool", (3, 4, 5)),
    case("ReduceMean", (3, 4, 5), "x", ints(2, 3), keepdims=0),
    case("ReduceMean", (3, 4, 5), "x", ints(-1), keepdims=1),
    case("AveragePool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", (2, 7, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    case("AveragePool", (2, 7, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", (2, 7, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("AveragePool", (2, 9), kernel_shape=[3], strides=[2], note="one axis"),
    case("MaxPool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", (2, 7, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], note="overlapping"),
    case("MaxPool", (2, 5, 5), kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], note="stride 1"),
    case("MaxPool", (2, 7, 8), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    case("MaxPool", (2, 8, 8), kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2]),
    case("MaxPool", (2, 9), kernel_shape=[3], strides=[2], note="one axis"),
]

SHAPE = [
    case("Identity", (3, 4)),
    case("Reshape", (3, 4), "x", ints(-1, 2, 6)),
    case("Flatten", (3, 4), axis=1),
    case("Squeeze", (3, 1, 4), "x", ints(2)),
    case("Unsqueeze", (3, 4), "x", ints(1, 3)),
    case("Expand", (3, 1), "x", ints(1, 3, 4)),
]

CASES: list[Case] = [*CONV, *LINEAR, *ACTIVATION, *ELEMENTWISE, *NORMALIZATION, *POOL, *SHAPE]
