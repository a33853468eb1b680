"""Convolution, its input gradient as another convolution, and its norm twin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.gradient.emitter import Cotangent, Emitter, PerSample
from export.gradient.factors import Arrangement, Factors
from export.gradient.graph import Array, N, Node, static
from export.gradient.registry import gradient, norm
from export.gradient.rules.windows import Window, window


@gradient("Conv")
def conv(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = W ∗ x + b: dx = Wᵀ ∗ dy, db = Σ dy over the positions; the norm twin has dW."""
    place, groups = _geometry(g, node)
    weight = node.inputs[1]
    if set(place.strides) == {1} and all(
        p < e for p, e in zip((*place.begin, *place.end), place.extent * 2, strict=True)
    ):
        dx = _flipped(g, dy, weight, place, groups)
    else:
        dx = _transposed(g, dy, weight, place, groups)
    if node.input(2) is None:
        return dx, None
    return dx, None, PerSample(g.position_sum(dy, g.shape(node.outputs[0])))


@norm("Conv")
def conv_norm(g: Emitter, node: Node, dy: str) -> Factors:
    """Squared norm per sample of dW = dy·unfold(x)ᵀ, of the summed loss; any stride, pads, dilation, groups."""
    place, groups = _geometry(g, node)
    x, weight = node.inputs[:2]
    outputs, channels, *_ = static(g.shape(weight))
    taps, positions = math.prod(place.kernel), math.prod(place.outputs)
    rows = outputs // groups
    if groups == 1:
        left = g.reshape(dy, (N, rows, positions))
        unfolded = _unfold(g, x, (N, channels, math.prod(place.sizes)), place)
        right = g.reshape(unfolded, (N, positions, taps * channels))
    else:
        left = g.reshape(dy, (N, groups, rows, positions))
        unfolded = _unfold(g, x, (N, groups, channels, math.prod(place.sizes)), place)
        right = g.reshape(unfolded, (N, groups, positions, taps * channels))
    return Factors(
        left=left,
        right=right,
        rows=rows,
        positions=positions,
        columns=taps * channels,
        arrangement=Arrangement((outputs, channels, taps), (0, 2, 1)),
        channels=np.arange(outputs),
        groups=groups,
    )


def _geometry(g: Emitter, node: Node) -> tuple[Window, int]:
    kernel = g.constant_operand(node, 1)
    place = window(node, g.shape(node.inputs[0]), g.shape(node.outputs[0]), kernel.shape[2:])
    return place, node.attribute("group", 1)


def _unfold(g: Emitter, x: str, shape: tuple[object, ...], place: Window) -> str:
    """x as [N, (groups,) positions · taps, channels]: one copy by a constant index into the positions.

    Positions in the padding read one row of zeros appended behind the last.
    """
    last = len(shape) - 1
    order = (*range(last - 1), last, last - 1)
    rows = g.transpose(g.reshape(x, shape), order)  # type: ignore[arg-type]
    if place.is_pointwise:
        return rows
    index = unfold_index(place)
    if (index == math.prod(place.sizes)).any():
        pads = [0] * (2 * len(shape))
        pads[len(shape) + last - 1] = 1
        rows = g.op("Pad", rows, g.ints(pads))
    return g.op("Gather", rows, g.constant(index.reshape(-1).astype(np.int32)), axis=last - 1)


def unfold_index(place: Window) -> Array:
    """[positions, taps] → the flat input position read there; the number of positions for padding."""
    position: Array = np.zeros((1, 1), dtype=np.int64)
    outside: Array = np.zeros((1, 1), dtype=bool)
    for size, count, kernel, stride, dilation, begin in zip(
        place.sizes, place.outputs, place.kernel, place.strides, place.dilations, place.begin, strict=True
    ):
        along = np.arange(count)[:, None] * stride + np.arange(kernel)[None] * dilation - begin
        combined = position[:, None, :, None] * size + along[None, :, None, :]
        missing = outside[:, None, :, None] | ((along < 0) | (along >= size))[None, :, None, :]
        shape = (position.shape[0] * count, position.shape[1] * kernel)
        position, outside = combined.reshape(shape), missing.reshape(shape)
    return np.where(outside, math.prod(place.sizes), position)


def _flipped(g: Emitter, dy: str, weight: str, place: Window, groups: int) -> str:
    """Stride 1: a convolution of dy with the kernel flipped and its channel axes swapped."""
    outputs, channels, *kernel = static(g.shape(weight))
    taps = math.prod(kernel)
    swapped = g.transpose(g.reshape(weight, (groups, outputs // groups, channels, taps)), (0, 2, 1, 3))
    if taps > 1:
        swapped = g.op("Gather", swapped, g.ints(range(taps - 1, -1, -1)), axis=3)
    pads = [e - 1 - p for e, p in zip(place.extent * 2, (*place.begin, *place.end), strict=True)]
    return g.op(
        "Conv",
        dy,
        g.reshape(swapped, (groups * channels, outputs // groups, *kernel)),
        kernel_shape=kernel,
        pads=pads,
        dilations=list(place.dilations),
        strides=[1] * len(kernel),
        group=groups,
    )


def _transposed(g: Emitter, dy: str, weight: str, place: Window, groups: int) -> str:
    """Any other: a transposed convolution, padded at the end to the size that the strides cut off."""
    reached = [
        (count - 1) * stride + extent - begin - end
        for count, stride, extent, begin, end in zip(
            place.outputs, place.strides, place.extent, place.begin, place.end, strict=True
        )
    ]
    return g.op(
        "ConvTranspose",
        dy,
        weight,
        kernel_shape=list(place.kernel),
        strides=list(place.strides),
        dilations=list(place.dilations),
        pads=[*place.begin, *place.end],
        output_padding=[size - reach for size, reach in zip(place.sizes, reached, strict=True)],
        group=groups,
    )
