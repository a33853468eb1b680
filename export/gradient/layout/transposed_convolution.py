"""Transposed convolutions, which the runtime computes slowly, as convolutions: the input gradients of Conv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.gradient.layout.passes import Layout, Movement, rewrites
from export.gradient.layout.sums import into_blocks
from export.gradient.rules.convolution.taps import channels_last
from export.gradient.rules.convolution.windows import Window
from export.graph.emitter import Emitter
from export.graph.graph import Array, N, Node, static


@rewrites("ConvTranspose")
def transposed_convolution(layout: Layout, node: Node) -> str:
    """Compute x = Wᵀ ∗ y, where W is the kernel of a convolution from x to y."""
    (y, weight), groups = node.inputs, node.attribute("group", 1)
    place = _geometry(layout, node)
    if set(place.strides) == {1}:
        return _flipped(layout.g, y, weight, place, groups)
    if set(place.dilations) == {1}:
        return _by_phases(layout, y, weight, place, groups)
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
    return _padded_conv(
        g,
        dy,
        g.reshape(swapped, (groups * channels, outputs // groups, *kernel)),
        [extent - 1 - pad for extent, pad in zip(place.extent * 2, (*place.begin, *place.end), strict=True)],
        place.dilations,
        groups,
    )


def _by_phases(layout: Layout, dy: str, weight: str, place: Window, groups: int) -> str:
    """Stride s: one stride-1 convolution computes dx at every phase of the stride, then they interleave.

    Along an axis, dx[s·q + r] = Σ_k w[k]·dy[(s·q + r + p − k) / s], over the k that divide. With
    j = (r + p − k) / s that is Σ_j v_r[j]·dy[q + j], v_r[j] = w[r + p − s·j]: a short kernel per
    phase r, zero where the index leaves w. A transposed convolution is far slower.
    """
    g = layout.g
    channels = static(g.shape(weight))[1]
    phases = [_phases(*axis) for axis in zip(place.strides, place.kernel, place.begin, strict=True)]
    kernels = _kernels_of_phases(g, weight, [taps for taps, _ in phases], groups)
    short = [taps.shape[1] for taps, _ in phases]
    counts = [-(-size // stride) for size, stride in zip(place.sizes, place.strides, strict=True)]
    begin = [-first for _, first in phases]
    end = [
        count - had + length - 1 - ahead
        for count, had, length, ahead in zip(counts, place.outputs, short, begin, strict=True)
    ]
    dx = _padded_conv(g, dy, kernels, [*begin, *end], (1,) * len(short), groups)
    # Sums are formed before this movement, so the key must say all that the movement depends on.
    key = ("phases", groups > 1, channels * groups, *counts, *place.strides, *place.sizes)
    interleave = _interleave if groups > 1 else _interleave_last
    dx = layout.move(Movement(key, dx, lambda source: interleave(g, source, groups * channels, counts, place)))
    return into_blocks(layout, dx, (N, groups * channels, *place.sizes))


def _kernels_of_phases(g: Emitter, weight: str, taps: Sequence[Array], groups: int) -> str:
    """The short kernels of all phases, [C · phases, O, …] (without groups [phases · C, O, …]).

    `taps` has, for each axis, which entry of the weight every phase reads at every offset.
    """
    outputs, channels, *kernel = static(g.shape(weight))
    index = np.zeros((1, 1), dtype=np.int64)
    absent = np.zeros((1, 1), dtype=bool)
    for along, size in zip(taps, kernel, strict=True):
        index = np.kron(index, np.ones_like(along)) * size + np.kron(np.ones_like(index), np.clip(along, 0, size - 1))
        outside = (along < 0) | (along >= size)
        absent = np.kron(absent, np.ones_like(outside)) | np.kron(np.ones_like(absent), outside)
    count = math.prod(kernel)
    flat = g.reshape(weight, (groups, outputs // groups, channels, count))
    if absent.any():
        flat = g.op("Pad", flat, g.ints([0, 0, 0, 0, 0, 0, 0, 1]))  # what lies outside reads this zero
    picked = g.op("Gather", flat, g.constant(np.where(absent, count, index)), axis=3)
    phases, short = math.prod(len(along) for along in taps), [along.shape[1] for along in taps]
    return g.reshape(
        g.transpose(picked, (0, 2, 3, 1, 4) if groups > 1 else (0, 3, 2, 1, 4)),
        (groups * channels * phases, outputs // groups, *short),
    )


def _phases(stride: int, kernel: int, begin: int) -> tuple[Array, int]:
    """[stride, taps] → the index k of w that phase r reads at offset j (maybe outside w), and the first j."""
    first = -((kernel - 1 - begin) // stride)
    last = (stride - 1 + begin) // stride
    return np.arange(stride)[:, None] + begin - stride * np.arange(first, last + 1)[None], first


def _interleave(g: Emitter, dx: str, channels: int, counts: Sequence[int], place: Window) -> str:
    """[N, C · phases, *counts] → [N, C, *sizes]."""
    axes = len(counts)
    if axes == 2 and len(set(place.strides)) == 1:
        dx = g.op("DepthToSpace", dx, blocksize=place.strides[0], mode="CRD")
    else:
        order = [axis for pair in zip(range(2 + axes, 2 + 2 * axes), range(2, 2 + axes), strict=True) for axis in pair]
        dx = g.transpose(g.reshape(dx, (N, channels, *place.strides, *counts)), (0, 1, *order))
        dx = g.reshape(dx, (N, channels, *(c * s for c, s in zip(counts, place.strides, strict=True))))
    return _cut(g, dx, counts, place)


def _interleave_last(g: Emitter, dx: str, channels: int, counts: Sequence[int], place: Window) -> str:
    """[N, phases · C, *counts] → [N, C, *sizes], with the channels last meanwhile.

    Then whole rows of channels move, which is several times faster than `DepthToSpace`; the runtime
    merges the outer transposes with its own layout changes.
    """
    axes, sizes = len(counts), [c * s for c, s in zip(counts, place.strides, strict=True)]
    last = g.reshape(channels_last(g, dx, 2 + axes), (N, *counts, *place.strides, channels))
    order = [axis for pair in zip(range(1, 1 + axes), range(1 + axes, 1 + 2 * axes), strict=True) for axis in pair]
    together = g.reshape(g.transpose(last, (0, *order, 1 + 2 * axes)), (N, *sizes, channels))
    return _cut(g, g.transpose(together, (0, 1 + axes, *range(1, 1 + axes))), counts, place)


def _cut(g: Emitter, dx: str, counts: Sequence[int], place: Window) -> str:
    """Cut off the positions that the last phases have too many."""
    if tuple(c * s for c, s in zip(counts, place.strides, strict=True)) == place.sizes:
        return dx
    axes = len(counts)
    return g.op("Slice", dx, g.ints([0] * axes), g.ints(place.sizes), g.ints(range(2, 2 + axes)))


def _spread(g: Emitter, dy: str, channels: int, place: Window) -> str:
    """dy with stride − 1 zeros between its entries, and at the end those that the strides cut off."""
    axes = len(place.strides)
    apart = g.reshape(dy, (N, channels, *(size for count in place.outputs for size in (count, 1))))
    ends = [stride - 1 for stride in place.strides]
    apart = g.op("Pad", apart, g.ints([0] * (2 + 2 * axes) + [0, 0] + [pad for end in ends for pad in (0, end)]))
    joined = g.reshape(apart, (N, channels, *(c * s for c, s in zip(place.outputs, place.strides, strict=True))))
    reached = [count * stride for count, stride in zip(place.outputs, place.strides, strict=True)]
    trimmed = [size - reach for size, reach in zip(_at_stride_1(place).outputs, reached, strict=True)]
    return _resized(g, joined, [0] * axes + trimmed)


def _at_stride_1(place: Window) -> Window:
    outputs = tuple(reached + 1 for reached in place.reach)
    return replace(place, outputs=outputs, strides=(1,) * len(outputs))


def _padded_conv(g: Emitter, x: str, kernel: str, pads: Sequence[int], dilations: Sequence[int], groups: int) -> str:
    """A stride-1 convolution; negative pads cut x before it."""
    axes = len(dilations)
    return g.op(
        "Conv",
        _resized(g, x, [min(pad, 0) for pad in pads]),
        kernel,
        pads=[max(pad, 0) for pad in pads],
        dilations=list(dilations),
        strides=[1] * axes,
        group=groups,
    )


def _resized(g: Emitter, x: str, pads: Sequence[int]) -> str:
    """x with zeros added, or with negative pads entries cut, at both ends of its positions."""
    axes = len(pads) // 2
    if any(pad < 0 for pad in pads):
        starts = [-min(pad, 0) for pad in pads[:axes]]
        ends = [min(pad, 0) or np.iinfo(np.int64).max for pad in pads[axes:]]
        x = g.op("Slice", x, g.ints(starts), g.ints(ends), g.ints(range(2, 2 + axes)))
    if any(pad > 0 for pad in pads):
        added = [max(pad, 0) for pad in pads]
        x = g.op("Pad", x, g.ints([0, 0, *added[:axes], 0, 0, *added[axes:]]))
    return x
