"""Functions of one number: y = f(x) element by element, dx = dy·f'(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.gradient.rules.registry import gradient, no_gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Node

no_gradient("Sign", "Floor", "Ceil", "Round")


@gradient("Neg", copies="entrywise")
def neg(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.op("Neg", dy),)


@gradient("Abs", copies="entrywise")
def abs_(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """|x|' = sign x, 0 at 0."""
    return (g.mul(dy, g.op("Sign", node.inputs[0])),)


@gradient("Reciprocal", copies="entrywise")
def reciprocal(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """(1/x)' = −y²."""
    y = node.outputs[0]
    return (g.op("Neg", g.mul(dy, g.mul(y, y))),)


@gradient("Sqrt", copies="entrywise")
def sqrt(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """(√x)' = 1/(2·y)."""
    return (g.op("Div", g.mul(dy, g.scalar(0.5)), node.outputs[0]),)


@gradient("Exp", copies="entrywise")
def exp(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.mul(dy, node.outputs[0]),)


@gradient("Log", copies="entrywise")
def log(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.op("Div", dy, node.inputs[0]),)


@gradient("Erf", copies="entrywise")
def erf(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """erf' = 2/√π·exp(−x²)."""
    x = node.inputs[0]
    slope = g.mul(g.op("Exp", g.op("Neg", g.mul(x, x))), g.scalar(2.0 / math.sqrt(math.pi)))
    return (g.mul(dy, slope),)


@gradient("Sin", copies="entrywise")
def sin(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.mul(dy, g.op("Cos", node.inputs[0])),)


@gradient("Cos", copies="entrywise")
def cos(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.op("Neg", g.mul(dy, g.op("Sin", node.inputs[0]))),)
