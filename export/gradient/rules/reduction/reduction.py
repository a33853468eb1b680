"""Reductions over axes of one sample; over the batch they are refused, since samples would mix."""

from __future__ import annotations

from collections.abc import Sequence

from export.gradient.rules.reduction.pool import reduced_axes
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Node, keep_clear_of_samples


@gradient("ReduceSum", copies="axes")
def reduce_sum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return _only_first(node, g.repeat(_kept(g, node, dy), g.shape(node.inputs[0])))


@gradient("CumSum")
def cum_sum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Every entry was added to itself and to all behind it: dx sums dy from the other end."""
    keep_clear_of_samples(g.shape(node.inputs[0]), (int(g.constant_operand(node, 1)),))
    backwards = 1 - node.attribute("reverse", 0)
    return g.op("CumSum", dy, node.inputs[1], exclusive=node.attribute("exclusive", 0), reverse=backwards), None


@gradient("ReduceMax", "ReduceMin")
def reduce_extremum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The entries that attain the extremum share the cotangent equally, as torch's amax does."""
    attained = g.op("Equal", node.inputs[0], _kept(g, node, node.outputs[0]))
    ones = g.op("Where", attained, g.scalar(1.0), g.scalar(0.0))
    share = g.op("Div", _kept(g, node, dy), g.reduce_sum(ones, reduced_axes(g, node), keepdims=True))
    return _only_first(node, g.op("Where", attained, share, g.scalar(0.0)))


@gradient("ReduceProd")
def reduce_prod(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Every entry gets dy times the product of the others: of all where one is 0, that one alone gets any."""
    x, axes = node.inputs[0], reduced_axes(g, node)
    is_zero = g.op("Equal", x, g.scalar(0.0))
    nonzero = g.op("Where", is_zero, g.scalar(1.0), x)
    product = g.op("ReduceProd", nonzero, g.ints(axes), keepdims=1) if axes else nonzero
    zeros = g.reduce_sum(g.op("Where", is_zero, g.scalar(1.0), g.scalar(0.0)), axes, keepdims=True)
    others = g.op("Where", g.op("Equal", zeros, g.scalar(0.0)), g.op("Div", product, nonzero), g.scalar(0.0))
    alone = g.op("Where", g.op("Equal", zeros, g.scalar(1.0)), product, g.scalar(0.0))
    return _only_first(node, g.mul(_kept(g, node, dy), g.op("Where", is_zero, alone, others)))


@gradient("ReduceL1")
def reduce_l1(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return _only_first(node, g.mul(g.op("Sign", node.inputs[0]), _kept(g, node, dy)))


@gradient("ReduceL2")
def reduce_l2(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = ‖x‖: y' = x/‖x‖, and 0 at x = 0 as in torch."""
    x, y = node.inputs[0], _kept(g, node, node.outputs[0])
    dx = g.mul(x, g.op("Div", _kept(g, node, dy), y))
    return _only_first(node, g.op("Where", g.op("Equal", y, g.scalar(0.0)), g.scalar(0.0), dx))


@gradient("ReduceSumSquare")
def reduce_sum_square(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return _only_first(node, g.mul(node.inputs[0], g.mul(_kept(g, node, dy), g.scalar(2.0))))


@gradient("ReduceLogSum")
def reduce_log_sum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = ln Σx: y' = 1/Σx = e⁻ʸ for every entry."""
    slope = g.op("Exp", g.op("Neg", _kept(g, node, node.outputs[0])))
    return _only_first(node, g.repeat(g.mul(_kept(g, node, dy), slope), g.shape(node.inputs[0])))


@gradient("ReduceLogSumExp")
def reduce_log_sum_exp(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = ln Σeˣ: y' = softmax(x) = exp(x − y)."""
    softmax = g.op("Exp", g.op("Sub", node.inputs[0], _kept(g, node, node.outputs[0])))
    return _only_first(node, g.mul(softmax, _kept(g, node, dy)))


def _kept(g: Emitter, node: Node, tensor: str) -> str:
    """A tensor of the output's shape with the reduced axes back in place, of size 1."""
    axes, shape = reduced_axes(g, node), g.shape(node.inputs[0])
    if node.attribute("keepdims", 1) or not axes:
        return tensor
    return g.reshape(tensor, [1 if axis in axes else size for axis, size in enumerate(shape)])


def _only_first(node: Node, dx: str) -> Sequence[Cotangent]:
    """dx for the first operand, and none for the axes."""
    return dx, *([None] * (len(node.inputs) - 1))
