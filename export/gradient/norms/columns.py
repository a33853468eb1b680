"""Sums per sample, one column for each layer, computed at once for all layers of one width.

For a row of 16 numbers, calling an operator costs as much as summing, and a network of a hundred layers needs
hundreds of such sums. Layers do not mix: an overflow in one leaves the columns of the others as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from export.graph.emitter import Emitter
from export.graph.graph import Array, N
from export.graph.names import LOGITS

Width = TypeVar("Width", bound=Hashable)


@dataclass(frozen=True)
class Rows:
    """Rows of one width side by side, `flat` [N, len(columns) · width], and the column that each is summed to."""

    columns: tuple[int, ...]
    flat: str
    width: int


@dataclass(frozen=True)
class Difference:
    """The row a·Σ first − b·second, [N, width]: first [N, parts · width] is summed over its parts."""

    first: str
    parts: int
    a: Array
    second: str
    b: Array


def zeros(g: Emitter) -> str:
    """Emit a column of zeros, [N, 1]."""
    # Not 0·logits, which is NaN where they are not finite: x < x is false for every x.
    first = g.op("Slice", LOGITS, g.ints([0]), g.ints([1]), g.ints([1]))
    return g.op("Cast", g.op("Less", first, first), to=g.element_type)


def weighted_sums(g: Emitter, rows: Sequence[tuple[str, Array]]) -> str:
    """Σ_k c_k·x_k for every pair (x [N, width], c [width]): [N, len(rows)]."""
    pieces = []
    for columns, width in _by_width({column: weights.size for column, (_, weights) in enumerate(rows)}):
        flat = _side_by_side(g, [rows[column][0] for column in columns])
        weights = np.concatenate([rows[column][1] for column in columns])
        weighted = flat if (weights == 1.0).all() else g.mul(flat, g.constant(weights[None]))
        pieces.append(Rows(columns, weighted, width))
    return _sums(g, pieces)


def square_sums(g: Emitter, rows: Sequence[Rows]) -> str:
    """Σ x² of every row: [N, number of columns]."""
    return _sums(g, [Rows(row.columns, g.mul(row.flat, row.flat), row.width) for row in rows])


def joined(g: Emitter, rows: Mapping[int, tuple[str, int]]) -> list[Rows]:
    """Put rows of one width side by side; `rows` maps a column to its row [N, width] and that width."""
    return [
        Rows(columns, _side_by_side(g, [rows[column][0] for column in columns]), width)
        for columns, width in _by_width({column: width for column, (_, width) in rows.items()})
    ]


def differences(g: Emitter, rows: Mapping[int, Difference]) -> list[Rows]:
    """Compute differences, those of one width together; `rows` maps a column to its difference."""
    found = []
    for columns, (parts, width) in _by_width({column: (row.parts, row.a.size) for column, row in rows.items()}):
        chosen = [rows[column] for column in columns]
        first = _side_by_side(g, [row.first for row in chosen])
        if parts > 1:
            first = g.reduce_sum(g.reshape(first, (N, len(chosen), parts, width)), (2,))
            first = g.reshape(first, (N, len(chosen) * width))
        second = _side_by_side(g, [row.second for row in chosen])
        a, b = (np.concatenate(factors)[None] for factors in zip(*((row.a, row.b) for row in chosen), strict=True))
        # As a·(first − b/a·second): OpenVINO computes a factor right behind a sum over the last axis wrongly.
        flat = g.mul(g.op("Sub", first, g.mul(second, g.constant(b / a))), g.constant(a))
        found.append(Rows(columns, flat, width))
    return found


def _by_width(widths: Mapping[int, Width]) -> Iterator[tuple[tuple[int, ...], Width]]:
    """(columns of one width, that width), by first use."""
    for width in dict.fromkeys(widths.values()):
        yield tuple(column for column, other in widths.items() if other == width), width


def _sums(g: Emitter, rows: Sequence[Rows]) -> str:
    """Every row's sum in its column: [N, number of columns]."""
    sums = _side_by_side(g, [_sums_of(g, row) for row in rows])
    columns = [column for row in rows for column in row.columns]
    if columns == sorted(columns):
        return sums
    # Layers were grouped by width: bring their sums back into the layers' order.
    return g.op("Gather", sums, g.constant(np.argsort(columns).astype(np.int32)), axis=1)


def _sums_of(g: Emitter, row: Rows) -> str:
    count = len(row.columns)
    if row.width == 1:
        return row.flat
    if count == 1:
        return g.reduce_sum(row.flat, (1,), keepdims=True)
    return g.reduce_sum(g.reshape(row.flat, (N, count, row.width)), (2,))


def _side_by_side(g: Emitter, columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else g.op("Concat", *columns, axis=1)
