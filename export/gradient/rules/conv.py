"""Convolution, its input gradient as another convolution, and its norm twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.gradient.emitter import Cotangent, Emitter, PerSample
from export.gradient.factors import Arrangement, Factors
from export.gradient.graph import Array, N, Node, Shape, static
from export.gradient.registry import gradient, norm
from export.gradient.rules.windows import Window, window

NormWay = Callable[[Emitter, Node, str, Window], Factors]
ROW_COST = 32  # numbers that could be copied in the time a Gather takes to find one row


@gradient("Conv")
def conv(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = W ∗ x + b: dx = Wᵀ ∗ dy, db = Σ dy over the positions; the norm twin has dW."""
    place, groups = _geometry(g, node)
    weight = node.inputs[1]
    if set(place.strides) == {1}:
        dx = _flipped(g, dy, weight, place, groups)
    elif set(place.dilations) == {1}:
        dx = _by_phases(g, dy, weight, place, groups)
    else:
        spread = _spread(g, dy, g.shape(node.outputs[0]), place)
        dx = _flipped(g, spread, weight, _at_stride_1(place), groups)
    if node.input(2) is None:
        return dx, None
    return dx, None, PerSample(g.position_sum(dy, g.shape(node.outputs[0])))


@norm("Conv")
def conv_norm(g: Emitter, node: Node, dy: str) -> Factors:
    """Squared norm per sample of dW = dy·unfold(x)ᵀ, of the summed loss; any stride, pads, dilation, groups."""
    place, groups = _geometry(g, node)
    if groups > 1:
        return _unfolded_by_group(g, node, dy, place, groups)
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    costs = unfolding_costs(place, outputs, channels)
    return min(costs, key=costs.__getitem__)(g, node, dy, place)


def unfolding_costs(place: Window, outputs: int, channels: int) -> dict[NormWay, float]:
    """Way to unfold → numbers copied per sample, infinite where it does not apply."""
    costs: dict[NormWay, float] = {_unfolded: math.prod((*place.kernel, *place.outputs)) * (channels + ROW_COST)}
    if len(place.kernel) == 2 and not place.is_pointwise:
        shared = Sharing(place)
        costs[_shared_unfolding] = shared.cost(outputs, channels)
        costs[_shifted] = shared.shift_cost(outputs, channels)
        costs[_unfolded_planes] = plane_cost(place, channels)
    return costs


def _unfolded(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """L = dy [O, positions], R = x at every tap [positions, taps · C]."""
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    taps, positions = math.prod(place.kernel), math.prod(place.outputs)
    index = None if place.is_pointwise else unfold_index(place)
    return Factors(
        left=g.reshape(dy, (N, outputs, positions)),
        right=(gathered(g, _channels_last(g, node.inputs[0]), place.sizes, channels, index),),
        rows=outputs,
        positions=positions,
        columns=taps * channels,
        arrangement=Arrangement((outputs, channels, taps), (0, 2, 1)),
        channels=np.arange(outputs),
    )


def _shared_unfolding(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """The taps shared out: L = dy at every row shift, R = x at every column shift.

    Their product has a block for every tap, and a 3×3 kernel is unfolded by six copies, not nine.
    """
    shared = Sharing(place)
    outputs, channels, high, wide = static(g.shape(node.inputs[1]))
    left = gathered(g, _channels_last(g, dy, 4), place.outputs, outputs, shared.row_index())
    return Factors(
        left=g.transpose(left, (0, 2, 1)),
        right=(gathered(g, _channels_last(g, node.inputs[0]), place.sizes, channels, shared.column_index()),),
        rows=high * outputs,
        positions=shared.positions,
        columns=wide * channels,
        arrangement=Arrangement((outputs, channels, high, wide), (2, 0, 3, 1)),
        channels=np.tile(np.arange(outputs), high),
    )


def _shifted(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """The taps shared out as in `_shared_unfolding`, of whole shifted maps instead of rows picked one by one.

    Rows of dy are shifted along its flat positions, columns of x along a row's flat entries: a `Pad`
    that adds at one end and cuts at the other. The column shifts are multiplied one by one.
    """
    shared = Sharing(place)
    outputs, channels, high, wide = static(g.shape(node.inputs[1]))
    flat = g.reshape(dy, (N, outputs, math.prod(place.outputs)))
    left = [_shifted_along(g, flat, *ends) for ends in shared.row_shifts()]
    rows = g.reshape(_channels_last(g, node.inputs[0]), (N, place.sizes[0], place.sizes[1] * channels))
    right = [_shifted_along(g, rows, begin * channels, end * channels) for begin, end in shared.column_shifts()]
    return Factors(
        left=g.op("Concat", *left, axis=1) if high > 1 else left[0],
        right=tuple(g.reshape(part, (N, shared.positions, channels)) for part in right),
        rows=high * outputs,
        positions=shared.positions,
        columns=wide * channels,
        arrangement=Arrangement((outputs, channels, high, wide), (2, 0, 3, 1)),
        channels=np.tile(np.arange(outputs), high),
    )


def _shifted_along(g: Emitter, tensor: str, begin: int, end: int) -> str:
    """Zeros added (or with negative counts entries cut) at both ends of the last of three axes."""
    return g.op("Pad", tensor, g.ints([0, 0, begin, 0, 0, end])) if begin or end else tensor


def _unfolded_planes(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """L = dy [O, positions], Rᵀ = x shifted to every tap [taps · C, positions]: for few channels."""
    outputs, channels, high, wide = static(g.shape(node.inputs[1]))
    shared = Sharing(place)
    planes = []
    for top, bottom in shared.output_row_shifts():
        for before, after in shared.column_shifts():
            planes.append(g.op("Pad", node.inputs[0], g.ints([0, 0, top, before, 0, 0, bottom, after])))
    positions = math.prod(place.outputs)
    joined = g.reshape(g.op("Concat", *planes, axis=1), (N, high * wide * channels, positions))
    return Factors(
        left=g.reshape(dy, (N, outputs, positions)),
        right=(g.transpose(joined, (0, 2, 1)),),
        rows=outputs,
        positions=positions,
        columns=high * wide * channels,
        arrangement=Arrangement((outputs, channels, high * wide), (0, 2, 1)),
        channels=np.arange(outputs),
    )


def plane_cost(place: Window, channels: int) -> float:
    """Of the copies of `_unfolded_planes`, in numbers per sample: shift, then join; only at stride 1."""
    if set(place.strides) != {1} or Sharing(place).shift_cost(1, 1) == math.inf:
        return math.inf
    return 2.0 * channels * math.prod((*place.kernel, *place.outputs))


def _unfolded_by_group(g: Emitter, node: Node, dy: str, place: Window, groups: int) -> Factors:
    """As `_unfolded`, group by group: L [groups, O / groups, positions]."""
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    taps, positions, rows = math.prod(place.kernel), math.prod(place.outputs), outputs // groups
    x = g.reshape(node.inputs[0], (N, groups, channels, math.prod(place.sizes)))
    index = None if place.is_pointwise else unfold_index(place)
    return Factors(
        left=g.reshape(dy, (N, groups, rows, positions)),
        right=(gathered(g, g.transpose(x, (0, 1, 3, 2)), place.sizes, channels, index, groups),),
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


@dataclass(frozen=True)
class Sharing:
    """A two-axis convolution's taps, rows taken from dy and columns from x.

    dW[i, j] = Σ_{h, q} dy[h + p − d·i, q] · x[h, s·q + d·j − p'] over the rows h of x and the
    columns q of dy; only for a row stride of 1, where every row of x meets one row of dy per i.
    """

    place: Window

    @property
    def positions(self) -> int:
        """The (h, q) that are summed over."""
        return self.place.sizes[0] * self.place.outputs[1]

    def cost(self, outputs: int, channels: int) -> float:
        """Of the copies, in numbers per sample; infinite where rows cannot be shared."""
        if self.place.strides[0] != 1:
            return math.inf
        high, wide = self.place.kernel
        return self.positions * (high * (outputs + ROW_COST) + wide * (channels + ROW_COST))

    def shift_cost(self, outputs: int, channels: int) -> float:
        """Of the copies of `_shifted`; infinite at a stride, or where a tap is shifted out of the map altogether."""
        if set(self.place.strides) != {1} or not self._all_taps_meet:
            return math.inf
        high, wide = self.place.kernel
        shifted = (high - 1) * outputs + (wide - 1) * channels + high * outputs
        return self.positions * shifted + 2 * high * outputs * wide * channels

    @property
    def _all_taps_meet(self) -> bool:
        rows, columns = ([max(0, -end) for ends in self._shifts(axis) for end in ends] for axis in (0, 1))
        return max(rows) < min(self.place.sizes[0], self.place.outputs[0]) and max(columns) < self.place.sizes[1]

    def row_shifts(self) -> list[tuple[int, int]]:
        """Zeros at both ends of dy's flat positions (negative: entries cut) that bring row tap i to the rows of x."""
        (rows, columns), place = self.place.outputs, self.place
        shifts = (place.begin[0] - place.dilations[0] * tap for tap in range(place.kernel[0]))
        return [(-shift * columns, (place.sizes[0] - rows + shift) * columns) for shift in shifts]

    def column_shifts(self) -> list[tuple[int, int]]:
        """Likewise of x's columns, that bring column tap j to the columns of dy."""
        return self._shifts(1)

    def output_row_shifts(self) -> list[tuple[int, int]]:
        """Likewise of x's rows, that bring row tap i to the rows of dy."""
        return self._shifts(0)

    def _shifts(self, axis: int) -> list[tuple[int, int]]:
        place = self.place
        shifts = (place.dilations[axis] * tap - place.begin[axis] for tap in range(place.kernel[axis]))
        return [(-shift, place.outputs[axis] - place.sizes[axis] + shift) for shift in shifts]

    def row_index(self) -> Array:
        """[positions, row shifts] → the flat position of dy, their number where there is none."""
        (high, wide), place = self.place.outputs, self.place
        shift = place.begin[0] - place.dilations[0] * np.arange(place.kernel[0])
        row = np.arange(place.sizes[0])[:, None, None] + shift
        column = np.arange(wide)[None, :, None]
        index = np.where((row >= 0) & (row < high), row * wide + column, high * wide)
        return index.reshape(self.positions, -1)

    def column_index(self) -> Array:
        """[positions, column shifts] → the flat position of x, their number where there is none."""
        (high, wide), place = self.place.sizes, self.place
        column = np.arange(place.outputs[1])[None, :, None] * place.strides[1] - place.begin[1]
        column = column + place.dilations[1] * np.arange(place.kernel[1])
        row = np.arange(high)[:, None, None]
        index = np.where((column >= 0) & (column < wide), row * wide + column, high * wide)
        return index.reshape(self.positions, -1)


def _channels_last(g: Emitter, x: str, rank: int | None = None) -> str:
    """[N, C, *positions] → [N, positions, C]; the runtime merges the Transpose with its own layout change."""
    rank = rank or len(g.shape(x))
    return g.transpose(x, (0, *range(2, rank), 1))


def gathered(g: Emitter, rows: str, sizes: tuple[int, ...], channels: int, index: Array | None, groups: int = 1) -> str:
    """Rows [N, positions, C] at constant places: [N, len(index), taps · C], in one copy.

    `index` [n, taps] counts flat positions; `positions` itself means zeros, a row appended behind
    the last. With groups all is [N, groups, …].
    """
    positions = math.prod(sizes)
    lead = (N,) if groups == 1 else (N, groups)
    rows = g.reshape(rows, (*lead, positions, channels))
    if index is None:
        return rows
    axis = len(lead)
    if (index == positions).any():
        pads = [0] * (2 * axis + 4)
        pads[2 * axis + 2] = 1
        rows = g.op("Pad", rows, g.ints(pads))
    taken = g.op("Gather", rows, g.constant(index.reshape(-1).astype(np.int32)), axis=axis)
    return g.reshape(taken, (*lead, index.shape[0], index.shape[1] * channels))


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
    return _padded_conv(
        g,
        dy,
        g.reshape(swapped, (groups * channels, outputs // groups, *kernel)),
        [extent - 1 - pad for extent, pad in zip(place.extent * 2, (*place.begin, *place.end), strict=True)],
        place.dilations,
        groups,
    )


def _by_phases(g: Emitter, dy: str, weight: str, place: Window, groups: int) -> str:
    """Stride s: one stride-1 convolution computes dx at every phase of the stride, then they interleave.

    Along an axis, dx[s·q + r] = Σ_k w[k]·dy[(s·q + r + p − k) / s], over the k that divide. With
    j = (r + p − k) / s that is Σ_j v_r[j]·dy[q + j], v_r[j] = w[r + p − s·j]: a short kernel per
    phase r, zero where the index leaves w. A transposed convolution is far slower.
    """
    outputs, channels, *kernel = static(g.shape(weight))
    phases = [_phases(*axis) for axis in zip(place.strides, place.kernel, place.begin, strict=True)]
    index = np.zeros((1, 1), dtype=np.int64)
    absent = np.zeros((1, 1), dtype=bool)
    for (taps, _), size in zip(phases, kernel, strict=True):
        index = np.kron(index, np.ones_like(taps)) * size + np.kron(np.ones_like(index), np.clip(taps, 0, size - 1))
        outside = (taps < 0) | (taps >= size)
        absent = np.kron(absent, np.ones_like(outside)) | np.kron(np.ones_like(absent), outside)
    count = math.prod(kernel)
    flat = g.reshape(weight, (groups, outputs // groups, channels, count))
    if absent.any():
        flat = g.op("Pad", flat, g.ints([0, 0, 0, 0, 0, 0, 0, 1]))
    picked = g.op("Gather", flat, g.constant(np.where(absent, count, index)), axis=3)
    short = [taps.shape[1] for taps, _ in phases]
    kernels = g.reshape(
        g.transpose(picked, (0, 2, 3, 1, 4) if groups > 1 else (0, 3, 2, 1, 4)),
        (groups * channels * math.prod(place.strides), outputs // groups, *short),
    )
    counts = [-(-size // stride) for size, stride in zip(place.sizes, place.strides, strict=True)]
    begin = [-first for _, first in phases]
    end = [
        count - had + length - 1 - ahead
        for count, had, length, ahead in zip(counts, place.outputs, short, begin, strict=True)
    ]
    dx = _padded_conv(g, dy, kernels, [*begin, *end], (1,) * len(kernel), groups)
    key = ("phases", groups > 1, channels * groups, *counts, *place.strides, *place.sizes)
    interleave = _interleave if groups > 1 else _interleave_last
    dx = g.moved(key, dx, lambda source: interleave(g, source, groups * channels, counts, place))
    return g.enter_blocks(dx, (N, groups * channels, *place.sizes))


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
    last = g.reshape(_channels_last(g, dx, 2 + axes), (N, *counts, *place.strides, channels))
    order = [axis for pair in zip(range(1, 1 + axes), range(1 + axes, 1 + 2 * axes), strict=True) for axis in pair]
    together = g.reshape(g.transpose(last, (0, *order, 1 + 2 * axes)), (N, *sizes, channels))
    return _cut(g, g.transpose(together, (0, 1 + axes, *range(1, 1 + axes))), counts, place)


def _cut(g: Emitter, dx: str, counts: Sequence[int], place: Window) -> str:
    """Without the positions that the last phases have too many."""
    if tuple(c * s for c, s in zip(counts, place.strides, strict=True)) == place.sizes:
        return dx
    axes = len(counts)
    return g.op("Slice", dx, g.ints([0] * axes), g.ints(place.sizes), g.ints(range(2, 2 + axes)))


def _spread(g: Emitter, dy: str, shape: Shape, place: Window) -> str:
    """dy with stride − 1 zeros between its entries, and at the end those that the strides cut off."""
    axes = len(place.strides)
    channels = static(shape[1:2])[0]
    apart = g.reshape(dy, (N, channels, *(size for count in place.outputs for size in (count, 1))))
    ends = [stride - 1 for stride in place.strides]
    apart = g.op("Pad", apart, g.ints([0] * (2 + 2 * axes) + [0, 0] + [pad for end in ends for pad in (0, end)]))
    joined = g.reshape(apart, (N, channels, *(c * s for c, s in zip(place.outputs, place.strides, strict=True))))
    reached = [count * stride for count, stride in zip(place.outputs, place.strides, strict=True)]
    trimmed = [size - reach for size, reach in zip(_at_stride_1(place).outputs, reached, strict=True)]
    return _resized(g, joined, [0] * axes + trimmed)


def _at_stride_1(place: Window) -> Window:
    outputs = tuple(
        size + begin + end - extent + 1
        for size, begin, end, extent in zip(place.sizes, place.begin, place.end, place.extent, strict=True)
    )
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
