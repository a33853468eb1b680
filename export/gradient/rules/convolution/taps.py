"""Positions that meet at each tap of a kernel, as indices and shifts that unfold an activation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from export.gradient.rules.convolution.windows import Window
from export.graph.emitter import Emitter
from export.graph.graph import Array, N

ALIASED = 1024
"""Numbers between two that the first cache keeps at one place: it then holds 8 or 12 of them, whatever its size."""
ROW_COST = 32  # numbers that are copied in the time that a Gather takes to find one row


@dataclass(frozen=True)
class Sharing:
    """A two-axis convolution's taps, rows taken from dy and columns from x.

    dW[i, j] = Σ_{h, q} dy[h + p − d·i, q] · x[h, s·q + d·j − p'] over the rows h of x and the
    columns q of dy; only for a row stride of 1, where every row of x meets one row of dy per i.
    """

    place: Window

    @property
    def positions(self) -> int:
        """The number of pairs (h, q) that are summed over."""
        return self.place.sizes[0] * self.place.outputs[1]

    def cost(self, outputs: int, channels: int) -> float:
        """Numbers per sample that picking rows copies; infinite where rows cannot be shared."""
        if self.place.strides[0] != 1:
            return math.inf
        high, wide = self.place.kernel
        return self.positions * (high * (outputs + ROW_COST) + wide * (channels + ROW_COST))

    def shift_cost(self, outputs: int, channels: int) -> float:
        """Numbers per sample that shifting whole maps copies; infinite at a stride, or where a tap leaves the map."""
        if set(self.place.strides) != {1} or not self._all_taps_meet:
            return math.inf
        high, wide = self.place.kernel
        shifted = (high - 1) * outputs + (wide - 1) * channels + high * outputs
        return self.positions * shifted + 2 * high * outputs * wide * channels

    @property
    def spare_rows(self) -> int:
        """Rows of zeros behind the last, without which all rows of a factor lie at one place of the first cache."""
        wide = self.place.outputs[1]
        return int(self.positions % ALIASED == 0 and wide % ALIASED != 0)

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
        """The same for x's columns: column tap j to the columns of dy."""
        return self._shifts(1)

    def output_row_shifts(self) -> list[tuple[int, int]]:
        """The same for x's rows: row tap i to the rows of dy."""
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


def channels_last(g: Emitter, x: str, rank: int | None = None) -> str:
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
