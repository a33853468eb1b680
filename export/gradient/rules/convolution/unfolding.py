"""Ways to the two factors of a convolution's weight gradient, dW = dy·unfold(x)ᵀ, and what each copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from export.gradient.rules.convolution.taps import ROW_COST, Sharing, channels_last, gathered, unfold_index
from export.gradient.rules.convolution.windows import Window
from export.gradient.rules.factors import Arrangement, Factors
from export.graph.emitter import Emitter
from export.graph.graph import N, Node, static

Unfolding = Callable[[Emitter, Node, str, Window], Factors]


def ways_to_unfold(g: Emitter, node: Node, dy: str, place: Window) -> tuple[tuple[float, Callable[[], Factors]], ...]:
    """Every way that applies, with the numbers per sample that it copies."""
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    costs = unfolding_costs(place, outputs, channels)
    return tuple((cost, partial(way, g, node, dy, place)) for way, cost in costs.items() if cost < math.inf)


def unfolding_costs(place: Window, outputs: int, channels: int) -> dict[Unfolding, float]:
    """Way to unfold → numbers copied per sample, infinite where it does not apply."""
    costs: dict[Unfolding, float] = {unfolded: math.prod((*place.kernel, *place.outputs)) * (channels + ROW_COST)}
    if len(place.kernel) == 2 and not place.is_pointwise:
        shared = Sharing(place)
        costs[shared_unfolding] = shared.cost(outputs, channels)
        costs[shifted] = shared.shift_cost(outputs, channels)
        costs[unfolded_planes] = plane_cost(place, channels)
    return costs


def unfolded(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """L = dy [O, positions], R = x at every tap [positions, taps · C]."""
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    taps, positions = math.prod(place.kernel), math.prod(place.outputs)
    index = None if place.is_pointwise else unfold_index(place)
    return Factors(
        left=g.reshape(dy, (N, outputs, positions)),
        right=(gathered(g, channels_last(g, node.inputs[0]), place.sizes, channels, index),),
        rows=outputs,
        positions=positions,
        columns=taps * channels,
        arrangement=Arrangement((outputs, channels, taps), (0, 2, 1), np.arange(outputs)),
        samples=g.shape(node.outputs[0])[0],
    )


def shared_unfolding(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """The taps shared out: L = dy at every row shift, R = x at every column shift.

    Their product has a block for every tap, and a 3×3 kernel is unfolded by six copies, not nine.
    """
    shared = Sharing(place)
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    left = g.transpose(gathered(g, channels_last(g, dy, 4), place.outputs, outputs, shared.row_index()), (0, 2, 1))
    right = gathered(g, channels_last(g, node.inputs[0]), place.sizes, channels, shared.column_index())
    return _with_taps_shared(g, node, shared, left, right)


def shifted(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
    """The taps shared out as in `shared_unfolding`, of whole shifted maps instead of rows picked one by one.

    Rows of dy are shifted along its flat positions, columns of x along a row's flat entries: a `Pad`
    that adds at one end and cuts at the other. The column shifts are multiplied one by one.
    """
    shared = Sharing(place)
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    spare = shared.spare_rows
    flat = g.reshape(dy, (N, outputs, math.prod(place.outputs)))
    left = [_padded(g, flat, (0, begin), (0, end + spare * place.outputs[1])) for begin, end in shared.row_shifts()]
    rows = g.reshape(channels_last(g, node.inputs[0]), (N, place.sizes[0], place.sizes[1] * channels))
    right = [_padded(g, rows, (0, begin * channels), (spare, end * channels)) for begin, end in shared.column_shifts()]
    positions = shared.positions + spare * place.outputs[1]
    rows_of_dy = g.op("Concat", *left, axis=1) if len(left) > 1 else left[0]
    columns_of_x = (g.reshape(part, (N, positions, channels)) for part in right)
    return replace(_with_taps_shared(g, node, shared, rows_of_dy, *columns_of_x), positions=positions)


def _with_taps_shared(g: Emitter, node: Node, shared: Sharing, left: str, *right: str) -> Factors:
    outputs, channels, high, wide = static(g.shape(node.inputs[1]))
    return Factors(
        left=left,
        right=right,
        rows=high * outputs,
        positions=shared.positions,
        columns=wide * channels,
        arrangement=Arrangement((outputs, channels, high, wide), (2, 0, 3, 1), np.tile(np.arange(outputs), high)),
        samples=g.shape(node.outputs[0])[0],
    )


def _padded(g: Emitter, tensor: str, begin: tuple[int, int], end: tuple[int, int]) -> str:
    """Zeros added (or with negative counts entries cut) at both ends of the last two of three axes."""
    return g.op("Pad", tensor, g.ints([0, *begin, 0, *end])) if any((*begin, *end)) else tensor


def unfolded_planes(g: Emitter, node: Node, dy: str, place: Window) -> Factors:
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
        arrangement=Arrangement((outputs, channels, high * wide), (0, 2, 1), np.arange(outputs)),
        samples=g.shape(node.outputs[0])[0],
    )


def plane_cost(place: Window, channels: int) -> float:
    """Numbers per sample that `unfolded_planes` copies, to shift and then to join; infinite at a stride."""
    if set(place.strides) != {1} or Sharing(place).shift_cost(1, 1) == math.inf:
        return math.inf
    return 2.0 * channels * math.prod((*place.kernel, *place.outputs))


def unfolded_by_group(g: Emitter, node: Node, dy: str, place: Window, groups: int) -> Factors:
    """The factors of `unfolded` group by group: L [groups, O / groups, positions]."""
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
        arrangement=Arrangement((outputs, channels, taps), (0, 2, 1), np.arange(outputs)),
        samples=g.shape(node.outputs[0])[0],
        groups=groups,
    )
