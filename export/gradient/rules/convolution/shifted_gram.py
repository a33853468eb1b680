"""The Gram matrix of an unfolded activation, U·Uᵀ, without unfolding it: the ghost norm of a convolution.

A row of U is x at every tap of one output position, so with G = X·Xᵀ over the positions of x
(U·Uᵀ)[t, s] = Σ_taps G[t + tap, s + tap], G shifted along its diagonals. That is taps times fewer
multiply-adds than the product, and copies nothing but G: on small maps with many channels several
times less than to form dW. Unfolding is Bu et al. 2022's way (mixed ghost clipping, section 3).
"""

from __future__ import annotations

import math

import numpy as np

from export.gradient.rules.convolution.taps import channels_last
from export.gradient.rules.convolution.windows import Window
from export.gradient.rules.factors import Arrangement, Gram
from export.graph.emitter import Emitter
from export.graph.graph import N, Node, static

SHIFT_COST = 8.0
"""Multiply-adds in the time that it takes to copy or add one entry of G."""


def by_shifted_gram(g: Emitter, node: Node, dy: str, place: Window) -> Gram | None:
    """U·Uᵀ of a convolution's input; None where it does not apply.

    That is at a stride, for a kernel of one tap, and where samples are merged with windows.
    """
    grid = _grid(place)
    if grid is None or g.shape(node.outputs[0])[0] != N:
        return None
    outputs, channels, *kernel = static(g.shape(node.inputs[1]))
    positions, taps = math.prod(grid), math.prod(kernel)
    x = _on_grid(g, node.inputs[0], place.sizes, channels, grid)
    gram = g.reshape(g.op("MatMul", x, g.transpose(x, (0, 2, 1))), (N, positions * positions))
    for axis, step in ((1, 1), (0, grid[1])):
        shifts = (place.dilations[axis] * tap - place.begin[axis] for tap in range(kernel[axis]))
        gram = _sum_of_shifted(g, gram, [shift * step * (positions + 1) for shift in shifts])
    return Gram(
        left=_on_grid(g, dy, place.outputs, outputs, grid),
        gram=g.reshape(gram, (N, positions, positions)),
        rows=outputs,
        positions=positions,
        cost=positions**2 * (channels + 2 * sum(kernel) * SHIFT_COST),
        arrangement=Arrangement((outputs, channels, taps), (0, 2, 1), np.arange(outputs)),
    )


def _grid(place: Window) -> tuple[int, int] | None:
    """Rows and columns on which x and dy are laid, with zeros behind the last of each.

    As many zeros as a tap reaches beyond either end: a flat position that leaves a row, or the
    whole map, then meets a zero of its neighbour.
    """
    if len(place.kernel) != 2 or place.is_pointwise or set(place.strides) != {1}:
        return None
    margins = map(max, place.begin, place.end)
    rows, columns = (size + margin for size, margin in zip(place.sizes, margins, strict=True))
    return (rows, columns) if place.outputs[0] <= rows and place.outputs[1] <= columns else None


def _on_grid(g: Emitter, tensor: str, sizes: tuple[int, ...], channels: int, grid: tuple[int, int]) -> str:
    """[N, C, rows, columns] → [N, positions of the grid, C]."""
    last = channels_last(g, tensor, 4)
    missing = [whole - size for whole, size in zip(grid, sizes, strict=True)]
    if any(missing):
        last = g.op("Pad", last, g.ints([0, 0, 0, 0, 0, *missing, 0]))
    return g.reshape(last, (N, math.prod(grid), channels))


def _sum_of_shifted(g: Emitter, flat: str, shifts: list[int]) -> str:
    """Σ over shifts of flat[:, f + shift], zero beyond the ends."""
    parts = [g.op("Pad", flat, g.ints([0, -shift, 0, shift])) if shift else flat for shift in shifts]
    return parts[0] if len(parts) == 1 else g.op("Sum", *parts)
