"""Transposed convolutions, which the runtime computes slowly, as convolutions: the input gradients of Conv."""

from __future__ import annotations

import math
from dataclasses import replace

from export.gradient.layout.padded_convolution import padded_conv, resized
from export.gradient.layout.passes import Layout, rewrites
from export.gradient.layout.phases import by_phases
from export.gradient.rules.convolution.windows import Window
from export.graph.emitter import Emitter
from export.graph.graph import N, Node, static

STATED = {"strides", "dilations", "pads", "output_padding", "group"}
"""Attributes of the input gradient of a Conv. A classifier's own node may state its sizes in other ways."""


@rewrites("ConvTranspose")
def transposed_convolution(layout: Layout, node: Node) -> str | None:
    """Compute x = Wᵀ ∗ y, where W is the kernel of a convolution from x to y."""
    if set(node.attributes) != STATED or len(node.inputs) != 2:
        return None
    (y, weight), groups = node.inputs, node.attribute("group", 1)
    place = _geometry(layout, node)
    if set(place.strides) == {1}:
        return _flipped(layout.g, y, weight, place, groups)
    if set(place.dilations) == {1}:
        return by_phases(layout, y, weight, place, groups)
    apart = _spread(layout.g, y, static(layout.g.shape(weight))[0], place)
    return _flipped(layout.g, apart, weight, _at_stride_1(place), groups)


def _geometry(layout: Layout, node: Node) -> Window:
    """The windows of the convolution that this one transposes."""
    sizes, kernel = (static(layout.g.shape(name)[2:]) for name in (node.outputs[0], node.inputs[1]))
    strides, dilations, pads = (tuple(node.attribute(name)) for name in ("strides", "dilations", "pads"))
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    place = Window(sizes, (), kernel, strides, dilations, begin, end)
    counts = (reached // stride + 1 for reached, stride in zip(place.reach, strides, strict=True))
    return replace(place, outputs=tuple(counts))


def _flipped(g: Emitter, dy: str, weight: str, place: Window, groups: int) -> str:
    """Stride 1: a convolution of dy with the kernel flipped and its channel axes swapped."""
    outputs, channels, *kernel = static(g.shape(weight))
    taps = math.prod(kernel)
    swapped = g.transpose(g.reshape(weight, (groups, outputs // groups, channels, taps)), (0, 2, 1, 3))
    if taps > 1:
        # A Slice backwards: the runtime, which folds this when it loads the graph, gathers numbers singly and slower.
        swapped = g.op("Slice", swapped, g.ints([-1]), g.ints([-taps - 1]), g.ints([3]), g.ints([-1]))
    return padded_conv(
        g,
        dy,
        g.reshape(swapped, (groups * channels, outputs // groups, *kernel)),
        [extent - 1 - pad for extent, pad in zip(place.extent * 2, (*place.begin, *place.end), strict=True)],
        place.dilations,
        groups,
    )


def _spread(g: Emitter, dy: str, channels: int, place: Window) -> str:
    """dy with stride − 1 zeros between its entries, and at the end those that the strides cut off."""
    axes = len(place.strides)
    apart = g.reshape(dy, (N, channels, *(size for count in place.outputs for size in (count, 1))))
    ends = [stride - 1 for stride in place.strides]
    apart = g.op("Pad", apart, g.ints([0] * (2 + 2 * axes) + [0, 0] + [pad for end in ends for pad in (0, end)]))
    joined = g.reshape(apart, (N, channels, *(c * s for c, s in zip(place.outputs, place.strides, strict=True))))
    reached = [count * stride for count, stride in zip(place.outputs, place.strides, strict=True)]
    trimmed = [size - reach for size, reach in zip(_at_stride_1(place).outputs, reached, strict=True)]
    return resized(g, joined, [0] * axes + trimmed)


def _at_stride_1(place: Window) -> Window:
    outputs = tuple(reached + 1 for reached in place.reach)
    return replace(place, outputs=outputs, strides=(1,) * len(outputs))
