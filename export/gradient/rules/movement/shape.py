"""Operators that only rename or move entries."""

from __future__ import annotations

from collections.abc import Sequence

from export.gradient.rules.registry import gradient, no_gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Node

no_gradient("Shape", "Size", "ArgMax", "ArgMin", "ConstantOfShape", "Hardmax", "EyeLike", "NonZero", "Range")


@gradient("Identity", copies="entrywise")
def identity(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (dy,)


@gradient("Reshape", "Flatten", "Squeeze", "Unsqueeze", copies="entrywise")
def reshape(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return g.reshape(dy, g.shape(node.inputs[0])), *([None] * (len(node.inputs) - 1))


@gradient("Expand", broadcasts=True, copies="aligned")
def expand(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return dy, None
