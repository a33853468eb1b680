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


@gradient("Tan", copies="entrywise")
def tan(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Tan' = 1 + y²."""
    y = node.outputs[0]
    return (g.mul(dy, g.add(g.mul(y, y), g.scalar(1.0))),)


@gradient("Sinh", copies="entrywise")
def sinh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.mul(dy, g.op("Cosh", node.inputs[0])),)


@gradient("Cosh", copies="entrywise")
def cosh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.mul(dy, g.op("Sinh", node.inputs[0])),)


@gradient("Asin", copies="entrywise")
def asin(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Asin' = 1/√(1 − x²)."""
    return (g.op("Div", dy, _root(g, g.op("Sub", g.scalar(1.0), _square(g, node)))),)


@gradient("Acos", copies="entrywise")
def acos(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Acos' = −1/√(1 − x²)."""
    return (g.op("Neg", g.op("Div", dy, _root(g, g.op("Sub", g.scalar(1.0), _square(g, node))))),)


@gradient("Atan", copies="entrywise")
def atan(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Atan' = 1/(1 + x²)."""
    return (g.op("Div", dy, g.add(_square(g, node), g.scalar(1.0))),)


@gradient("Asinh", copies="entrywise")
def asinh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Asinh' = 1/√(x² + 1)."""
    return (g.op("Div", dy, _root(g, g.add(_square(g, node), g.scalar(1.0)))),)


@gradient("Acosh", copies="entrywise")
def acosh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Acosh' = 1/√(x² − 1)."""
    return (g.op("Div", dy, _root(g, g.op("Sub", _square(g, node), g.scalar(1.0)))),)


@gradient("Atanh", copies="entrywise")
def atanh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Atanh' = 1/(1 − x²)."""
    return (g.op("Div", dy, g.op("Sub", g.scalar(1.0), _square(g, node))),)


@gradient("Shrink", copies="entrywise")
def shrink(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Entries beyond ±lambd were moved by a constant: dy there, 0 between."""
    kept = g.op("Greater", g.op("Abs", node.inputs[0]), g.scalar(node.attribute("lambd", 0.5)))
    return (g.op("Where", kept, dy, g.scalar(0.0)),)


def _square(g: Emitter, node: Node) -> str:
    return g.mul(node.inputs[0], node.inputs[0])


def _root(g: Emitter, tensor: str) -> str:
    return g.op("Sqrt", tensor)
