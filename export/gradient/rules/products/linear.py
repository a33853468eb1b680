"""Matrix products, and the factors of the gradients of their weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.gradient.rules.factors import Arrangement, Factors
from export.gradient.rules.registry import gradient, weight_factors
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import N, Node, Shape, keep_clear_of_samples, per_sample_size, static


@gradient("Gemm", copies="rows")
def gemm(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Y = α·A·B' + β·C, with constant B and C; B' is B or its transpose."""
    b = node.inputs[1]
    if node.attribute("transA", 0) or g.value(b) is None:
        raise g.refusal(node, "only constant weights on the right are supported", "use MatMul and Transpose")
    da = g.op("Gemm", dy, b, alpha=node.attribute("alpha", 1.0), transB=1 - node.attribute("transB", 0))
    if node.input(2) is None:
        return (da, None, None)[: len(node.inputs)]
    c = g.constant_operand(node, 2)
    beta = node.attribute("beta", 1.0)
    dc = dy if beta == 1.0 else g.mul(dy, g.scalar(beta))
    return da, None, PerSample(g.unbroadcast_per_sample(dc, g.shape(node.outputs[0]), c.shape))


@weight_factors("Gemm")
def gemm_factors(g: Emitter, node: Node, dy: str) -> Factors:
    """dB = α·dYᵀ·A per sample, of the summed loss."""
    a, b = node.inputs[:2]
    outputs, inputs = static(g.shape(b)) if node.attribute("transB", 0) else static(g.shape(b))[::-1]
    alpha = node.attribute("alpha", 1.0)
    order = (0, 1) if node.attribute("transB", 0) else (1, 0)
    arrangement = Arrangement(static(g.shape(b)), order, np.arange(outputs))
    left = dy if alpha == 1.0 else g.mul(dy, g.scalar(alpha))
    return _factors(g, a, g.shape(a), left, g.shape(node.outputs[0]), arrangement, inputs)


@gradient("MatMul", copies="aligned")
def matmul(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dA = dY·Bᵀ, dB = Aᵀ·dY, summed over the axes along which an operand was repeated."""
    a, b = node.inputs
    a_shape, b_shape, y_shape = g.shape(a), g.shape(b), g.shape(node.outputs[0])
    if len(a_shape) < 2 or len(b_shape) < 2:
        raise g.refusal(node, "an operand has fewer than two axes", "unsqueeze it first")
    keep_clear_of_samples(a_shape, [-1])
    keep_clear_of_samples(b_shape, [-2])
    da = db = None
    if g.value(a) is None:
        full = (*y_shape[:-1], a_shape[-1])
        da = g.unbroadcast(g.op("MatMul", dy, _swap_last(g, b, len(b_shape))), full, a_shape)
    if g.value(b) is None:
        full = (*y_shape[:-2], *b_shape[-2:])
        db = g.unbroadcast(g.op("MatMul", _swap_last(g, a, len(a_shape)), dy), full, b_shape)
    return da, db


@weight_factors("MatMul")
def matmul_factors(g: Emitter, node: Node, dy: str) -> Factors:
    """dW per sample for a constant operand W of two axes, of the summed loss."""
    a, b = node.inputs
    weight = b if g.value(b) is not None else a
    shape = static(g.shape(weight))
    if len(shape) != 2:
        raise g.refusal(node, "its weight has more than two axes", "declare it constant, or use one MatMul per matrix")
    if weight == b:
        arrangement = Arrangement(shape, (1, 0), np.arange(shape[1]))
        return _factors(g, a, g.shape(a), dy, g.shape(node.outputs[0]), arrangement, shape[0])
    # W is on the left, Y = W·X: Yᵀ = Xᵀ·Wᵀ has it on the right, as above.
    a_order = [*range(len(g.shape(b)) - 2), len(g.shape(b)) - 1, len(g.shape(b)) - 2]
    moved_x, moved_dy = g.transpose(b, a_order), g.transpose(dy, a_order)
    x_shape = tuple(g.shape(b)[axis] for axis in a_order)
    y_shape = tuple(g.shape(node.outputs[0])[axis] for axis in a_order)
    return _factors(g, moved_x, x_shape, moved_dy, y_shape, Arrangement(shape, (0, 1), np.arange(shape[0])), shape[1])


def _factors(
    g: Emitter, x: str, x_shape: Shape, dy: str, y_shape: Shape, arrangement: Arrangement, inputs: int
) -> Factors:
    """L_n = dY_nᵀ and R_n = X_n over all positions of a sample."""
    outputs, positions = arrangement.rows, per_sample_size(x_shape) // inputs
    left = g.reshape(g.samples_first(dy, y_shape), (N, positions, outputs))
    right = g.reshape(g.samples_first(x, x_shape), (N, positions, inputs))
    # With one position the transpose moves nothing, and a Reshape costs the runtime nothing.
    return Factors(
        left=g.transpose(left, (0, 2, 1)) if positions > 1 else g.reshape(left, (N, outputs, 1)),
        right=(right,),
        rows=outputs,
        positions=positions,
        columns=inputs,
        arrangement=arrangement,
    )


def _swap_last(g: Emitter, tensor: str, rank: int) -> str:
    return g.transpose(tensor, (*range(rank - 2), rank - 1, rank - 2))
