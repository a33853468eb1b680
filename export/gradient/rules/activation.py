"""Activation functions: y = f(x) element by element, dx = dy·f'(x)."""

from __future__ import annotations

from collections.abc import Sequence

from export.gradient.emitter import Cotangent, Emitter
from export.gradient.graph import Node
from export.gradient.registry import gradient


@gradient("Relu")
def relu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The mask is read off the output, so that the runtime can still fuse Conv and Relu."""
    return (g.mul(dy, positive(g, node.outputs[0])),)


@gradient("Sigmoid")
def sigmoid(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """σ' = σ·(1 − σ)."""
    y = node.outputs[0]
    return (g.mul(dy, g.mul(y, g.op("Sub", g.scalar(1.0), y))),)


@gradient("Tanh")
def tanh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """tanh' = 1 − tanh²."""
    y = node.outputs[0]
    return (g.mul(dy, g.op("Sub", g.scalar(1.0), g.mul(y, y))),)


def positive(g: Emitter, tensor: str) -> str:
    """1 where a non-negative tensor exceeds 0, else 0: one node instead of a comparison and a cast."""
    return g.op("HardSigmoid", tensor, alpha=1e38, beta=0.0)
