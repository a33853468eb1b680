"""Transposed convolution: its input gradient is the convolution it transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.gradient.rules.convolution.taps import gathered, unfold_index
from export.gradient.rules.convolution.windows import Window, window
from export.gradient.rules.factors import Arrangement, Factors
from export.gradient.rules.registry import gradient, weight_factors
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import N, Node, static


@gradient("ConvTranspose", copies="rows")
def conv_transpose(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx = W ∗ dy with the same strides and pads, db = Σ dy over the positions; dW has its factors below."""
    place, groups = _geometry(g, node)
    dx = g.op(
        "Conv",
        dy,
        node.inputs[1],
        kernel_shape=list(place.kernel),
        strides=list(place.strides),
        dilations=list(place.dilations),
        pads=[*place.begin, *place.end],
        group=groups,
    )
    if node.input(2) is None:
        return (dx, None, None)[: len(node.inputs)]
    return dx, None, PerSample(g.position_sum(dy, g.shape(node.outputs[0])))


@weight_factors("ConvTranspose")
def conv_transpose_factors(g: Emitter, node: Node, dy: str) -> Factors:
    """dW = unfold(dy)·xᵀ per sample, of the summed loss; a row is an output channel at one tap."""
    place, groups = _geometry(g, node)
    inputs, channels, *_ = static(g.shape(node.inputs[1]))
    taps, positions, columns = math.prod(place.kernel), math.prod(place.outputs), inputs // groups
    rows, size = taps * channels, math.prod(place.sizes)
    lead = (N,) if groups == 1 else (N, groups)
    last = len(lead)
    swap = (*range(last), last + 1, last)
    dy_rows = g.transpose(g.reshape(dy, (*lead, channels, size)), swap)
    unfolded = gathered(g, dy_rows, place.sizes, channels, unfold_index(place), groups)
    left = g.transpose(g.reshape(unfolded, (*lead, positions, rows)), swap)
    right = g.transpose(g.reshape(node.inputs[0], (*lead, columns, positions)), swap)
    by_row = np.concatenate(
        [np.tile(np.arange(group, group + channels), taps) for group in range(0, groups * channels, channels)]
    )
    return Factors(
        left=left,
        right=(right,),
        rows=rows,
        positions=positions,
        columns=columns,
        arrangement=Arrangement((groups, columns, channels, taps), (0, 3, 2, 1), by_row),
        groups=groups,
        samples=g.shape(node.outputs[0])[0],
    )


def _geometry(g: Emitter, node: Node) -> tuple[Window, int]:
    """The windows of the convolution that this one transposes: from its output to its input.

    Pads that follow from `output_shape` or `auto_pad` are those that make the sizes fit.
    """
    kernel = g.constant_operand(node, 1)
    y_shape, x_shape = g.shape(node.outputs[0]), g.shape(node.inputs[0])
    place = window(node, y_shape, x_shape, kernel.shape[2:])
    if node.attribute("output_shape") or node.attribute("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        place = _fitted(g, node, place)
    return place, node.attribute("group", 1)


def _fitted(g: Emitter, node: Node, place: Window) -> Window:
    """Add the pads that cut the full output down to the stated size.

    Where their sum is odd, the larger is in front, except for SAME_UPPER.
    """
    begin, end = [], []
    extra = node.attribute("output_padding") or [0] * len(place.kernel)
    for axis, extent in enumerate(place.extent):
        reached = (place.outputs[axis] - 1) * place.strides[axis] + extent
        total = max(0, reached + extra[axis] - place.sizes[axis])
        first = total // 2 if node.attribute("auto_pad", "NOTSET") == "SAME_UPPER" else total - total // 2
        last = reached - place.sizes[axis] - first
        if last <= -place.strides[axis]:
            raise g.refusal(node, "its output_shape reaches beyond every window", "state the pads and output_padding")
        begin.append(first)
        end.append(max(0, last))
    return replace(place, begin=tuple(begin), end=tuple(end))
