"""Pooling and reduction by the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.gradient.rules.convolution.windows import Window, window
from export.gradient.rules.movement.axes import along_axis
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Array, Batch, N, Node, static


@gradient("GlobalAveragePool", copies="rows")
def global_average_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    shape = g.shape(node.inputs[0])
    dx = g.mul(dy, g.scalar(1.0 / math.prod(static(shape[2:]))))
    return (g.repeat(dx, shape),)


@gradient("ReduceMean", copies="axes")
def reduce_mean(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    shape = g.shape(node.inputs[0])
    axes = reduced_axes(g, node)
    count = math.prod(static([shape[axis] for axis in axes]))
    kept = g.reshape(dy, [1 if axis in axes else size for axis, size in enumerate(shape)])
    if axes:
        dy = g.repeat(g.mul(kept, g.scalar(1.0 / count)), shape)
    return dy, *([None] * (len(node.inputs) - 1))


@gradient("AveragePool", copies="rows")
def average_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Averaging windows is a product with one constant matrix per axis; dx takes their transposes."""
    place = _window(g, node)
    include_pad = bool(node.attribute("count_include_pad", 0))
    return (_through(g, dy, [averaging_matrix(place, axis, include_pad) for axis in range(len(place.kernel))]),)


@gradient("LpPool")
def lp_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = (Σ|x|ᵖ)^(1/p) over windows: dx = sign x·|x|ᵖ⁻¹·Σ dy·y¹⁻ᵖ over the windows that read x; 0 where y is."""
    place = _window(g, node)
    order = node.attribute("p", 2)
    share = _lp_share(g, node, dy, order)
    summed = _through(g, share, [(averaging_matrix(place, axis, True) > 0) * 1.0 for axis in range(len(place.kernel))])
    return (g.mul(summed, _lp_slope(g, node, order)),)


@gradient("GlobalLpPool", copies="rows")
def global_lp_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The rule of LpPool, with one window over all positions."""
    order = node.attribute("p", 2)
    return (g.mul(_lp_share(g, node, dy, order), _lp_slope(g, node, order)),)


def _lp_share(g: Emitter, node: Node, dy: str, order: int) -> str:
    """dy·y¹⁻ᵖ, 0 where y is 0."""
    y = node.outputs[0]
    share = g.op("Div", dy, g.op("Pow", y, g.scalar(order - 1.0)))
    return g.op("Where", g.op("Equal", y, g.scalar(0.0)), g.scalar(0.0), share)


def _lp_slope(g: Emitter, node: Node, order: int) -> str:
    """sign x·|x|ᵖ⁻¹."""
    x = node.inputs[0]
    return g.mul(g.op("Sign", x), g.op("Pow", g.op("Abs", x), g.scalar(order - 1.0)))


def _window(g: Emitter, node: Node) -> Window:
    return window(node, g.shape(node.inputs[0]), g.shape(node.outputs[0]), tuple(node.attribute("kernel_shape")))


def _through(g: Emitter, dy: str, matrices: Sequence[Array]) -> str:
    """Take [N, C, *positions] through a constant matrix per axis of positions."""
    rank = len(matrices) + 2
    for axis, matrix in enumerate(matrices, start=2):
        dy = along_axis(g, dy, rank, axis, matrix)
    return dy


@gradient("MaxPool")
def max_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The cotangent of every output goes to the position of its maximum; overlaps add up.

    The pool's own `Indices` count through the whole tensor (row-major by default); modulo the
    positions they stay inside their own sample and channel, even where a window of NaN has none.
    """
    shape = g.shape(node.inputs[0])
    positions = math.prod(static(shape[2:]))
    outputs = math.prod(static(g.shape(node.outputs[0])[2:]))
    if node.attribute("storage_order", 0):
        raise g.refusal(node, "column-major storage order is not supported", "export it row-major")
    index = g.op("Mod", g.second_output(node), g.ints([positions]))
    zeros = g.op("ConstantOfShape", g.op("Shape", g.reshape(node.inputs[0], (N, positions))), value=g.zero())
    scattered = g.op(
        "ScatterElements",
        zeros,
        g.reshape(index, (N, outputs)),
        g.reshape(dy, (N, outputs)),
        axis=1,
        reduction="add",
    )
    return (g.reshape(scattered, shape),)


def reduced_axes(g: Emitter, node: Node) -> tuple[int, ...]:
    """The axes that a reduction runs over, counted from the front; refuses the batch."""
    shape = g.shape(node.inputs[0])
    given = g.constant_operand(node, 1)
    if given is None or not given.size:
        axes: Sequence[int] = () if node.attribute("noop_with_empty_axes", 0) else range(len(shape))
    else:
        axes = [int(axis) % len(shape) for axis in given.reshape(-1)]
    if any(isinstance(shape[axis], Batch) for axis in axes):
        raise g.refusal(node, "it reduces over the batch: samples would mix", "reduce per sample")
    return tuple(sorted(axes))


def averaging_matrix(place: Window, axis: int, include_pad: bool) -> Array:
    """[outputs, inputs] along one axis: 1/count at every input position a window reads."""
    size, count = place.sizes[axis], place.outputs[axis]
    taps = np.arange(count)[:, None] * place.strides[axis] - place.begin[axis]
    taps = taps + np.arange(place.kernel[axis])[None] * place.dilations[axis]
    inside = (taps >= 0) & (taps < size)
    counted = (taps < size + place.end[axis]) if include_pad else inside
    matrix = np.zeros((count, size))
    np.add.at(matrix, (np.nonzero(inside)[0], taps[inside]), 1.0)
    average: Array = matrix / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    return average


@gradient("GlobalMaxPool")
def global_max_pool(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dy goes to the first position that attains the maximum, as in torch's adaptive pool."""
    shape = g.shape(node.inputs[0])
    positions = math.prod(static(shape[2:]))
    flat = (*shape[:2], positions)
    first = g.op("ArgMax", g.reshape(node.inputs[0], flat), axis=2, keepdims=1)
    chosen = g.op("Equal", g.constant(np.arange(positions)), first)
    return (g.reshape(g.op("Where", chosen, g.reshape(dy, (*shape[:2], 1)), g.scalar(0.0)), shape),)
