"""Arithmetic element by element with broadcasting; gradients come in the output's shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.gradient.rules.registry import gradient, no_gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Array, Node


@gradient("Add", broadcasts=True, copies="aligned")
def add(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return dy, dy


@gradient("Mul", broadcasts=True, copies="aligned")
def mul(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    a, b = node.inputs
    return g.mul(dy, b), g.mul(dy, a)


@gradient("Sub", broadcasts=True, copies="aligned")
def sub(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return dy, g.op("Neg", dy)


@gradient("Div", broadcasts=True, copies="aligned")
def div(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = a/b: da = dy/b, db = −y·dy/b."""
    da = g.op("Div", dy, node.inputs[1])
    return da, g.op("Neg", g.mul(node.outputs[0], da))


@gradient("Sum", broadcasts=True, copies="aligned")
def sum_(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (dy,) * len(node.inputs)


@gradient("Mean", broadcasts=True, copies="aligned")
def mean(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.mul(dy, g.scalar(1.0 / len(node.inputs))),) * len(node.inputs)


@gradient("Pow", broadcasts=True)
def pow_(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = aᵇ: da = dy·b·aᵇ⁻¹, db = dy·y·ln a, taken as 0 where a is 0."""
    a, b = node.inputs
    exponent = g.value(b)
    # An integer exponent cannot have been trained.
    if exponent is not None and not np.issubdtype(exponent.dtype, np.floating):
        return _power_slope(g, dy, a, exponent.astype(np.float64)), None
    logarithm = g.op("Where", g.op("Equal", a, g.scalar(0.0)), g.scalar(0.0), g.op("Log", a))
    db = g.mul(dy, g.mul(node.outputs[0], logarithm))
    if exponent is not None:
        return _power_slope(g, dy, a, exponent), db
    slope = g.mul(b, g.op("Pow", a, g.op("Sub", b, g.scalar(1.0))))
    return g.mul(dy, g.op("Where", g.op("Equal", b, g.scalar(0.0)), g.scalar(0.0), slope)), db


def _power_slope(g: Emitter, dy: str, a: str, exponent: Array) -> str:
    """dy·b·aᵇ⁻¹ for a constant b; a⁰ has slope 0 even at a = 0, where a⁻¹ is infinite."""
    factor = g.mul(dy, g.constant(exponent))
    if (exponent == 2).all():  # the common case, without a Pow
        return g.mul(factor, a)
    return g.mul(factor, g.op("Pow", a, g.constant(np.where(exponent == 0, 1.0, exponent - 1.0))))


@gradient("Max", "Min", broadcasts=True, copies="aligned")
def extremum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The operands that attain the extremum share the cotangent equally, as in torch."""
    attained = [g.op("Equal", name, node.outputs[0]) for name in node.inputs]
    if len(attained) > 1:
        counts = [g.op("Where", mask, g.scalar(1.0), g.scalar(0.0)) for mask in attained]
        total = counts[0]
        for count in counts[1:]:
            total = g.add(total, count)
        dy = g.op("Div", dy, total)
    return tuple(g.op("Where", mask, dy, g.scalar(0.0)) for mask in attained)


@gradient("Where", broadcasts=True, copies="aligned")
def where(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    condition, zero = node.inputs[0], g.scalar(0.0)
    return None, g.op("Where", condition, dy, zero), g.op("Where", condition, zero, dy)


@gradient("Mod", broadcasts=True)
def mod(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = a − b·k with a whole number k = (a − y)/b, which does not move: da = dy, db = −k·dy."""
    a, b = node.inputs
    if not np.issubdtype(g.graph.dtypes[node.outputs[0]], np.floating):
        return None, None
    multiple = g.op("Round", g.op("Div", g.op("Sub", a, node.outputs[0]), b))
    return dy, g.op("Neg", g.mul(dy, multiple))


no_gradient(
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf",
    "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
)  # fmt: skip
