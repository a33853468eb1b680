"""The per-sample weight gradient as a product of two factors, and its norms.

Every layer's weight gradient is dW_n = L_n·R_n, with L_n [rows, positions] made of the cotangent
and R_n [positions, columns] of the layer's input; `Arrangement` says which entry of the weight
stands at which row and column. Two ways to the squared norm of every row (Goodfellow 2015; Li et
al. 2021; Bu et al. 2022), of which the cheaper is chosen at build time from the static sizes:

    direct    form L·R, square, sum            rows · columns · positions multiply-adds, rows · columns entries
    ghost     Σ_t ((L·(R·Rᵀ)) ∘ L)_rt          positions² · (rows + columns), rows · positions entries

An operator that knows R·Rᵀ by a cheaper way than the product gives a second pair of factors for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from export.graph.emitter import Emitter
from export.graph.graph import Array, Batch, Dimension, N

ENTRY_COST = 16
"""Multiply-adds of a product in the time that it takes to multiply one more tensor's entry and sum it up."""


@dataclass(frozen=True)
class Arrangement:
    """Weight → matrix of [groups · rows, columns]: reshape to `split`, transpose by `order`, flatten."""

    split: tuple[int, ...]
    order: tuple[int, ...]

    def matrix(self, weight: Array, rows: int) -> Array:
        """The array, arranged."""
        return np.ascontiguousarray(weight.reshape(self.split).transpose(self.order)).reshape(rows, -1)

    def emit(self, g: Emitter, weight: str, shape: tuple[int, ...]) -> str:
        """The constant `weight`, arranged to `shape` by nodes that the runtime folds at load."""
        return g.reshape(g.transpose(g.reshape(weight, self.split), self.order), shape)


@dataclass(frozen=True)
class Factors:
    """dW_n = left_n · right_n for every sample n, of the summed per-sample losses.

    left   [N, rows, positions], or [N, groups, rows, positions] where groups > 1
    right  [N, positions, columns], likewise; its columns may come in parts, side by side, of which
           the products are joined (that is smaller than what they are made of)
    channels   the output channel of every row of the arranged weight, [groups · rows]
    formed     whether dW itself is needed, for more than the norms of its rows
    gram       R·Rᵀ [N, positions, positions], where it comes cheaper than by the product, at
               `gram_cost` multiply-adds; there is no R then, and left is [N, positions, rows]
    norms_only the same gradient with such a `gram`
    """

    left: str
    right: tuple[str, ...]
    rows: int
    positions: int
    columns: int
    arrangement: Arrangement
    channels: Array
    groups: int = 1
    formed: bool = False
    gram: str | None = None
    gram_cost: float = 0.0
    norms_only: Factors | None = None

    @property
    def all_rows(self) -> int:
        return self.groups * self.rows

    def whole_right(self, g: Emitter) -> str:
        """The right factor in one piece."""
        last = 2 if self.groups == 1 else 3
        return self.right[0] if len(self.right) == 1 else g.op("Concat", *self.right, axis=last)

    @property
    def direct_cost(self) -> float:
        """Multiply-adds per sample to form dW and to square it, for one group."""
        return math.inf if self.gram else self.rows * self.columns * (self.positions + ENTRY_COST)

    @property
    def ghost_cost(self) -> float:
        """Likewise of the ghost norm."""
        gram_cost = self.gram_cost if self.gram else self.positions**2 * self.columns
        return gram_cost + self.positions * self.rows * (self.positions + ENTRY_COST)

    @property
    def norm_cost(self) -> float:
        """Of the cheaper of both."""
        return min(self.direct_cost, self.ghost_cost)

    @property
    def ghost(self) -> bool:
        """Whether the ghost norm is taken: where it costs less, and dW is not needed anyway."""
        return not self.formed and self.ghost_cost < self.direct_cost


def of_whole_samples(g: Emitter, factors: Factors, rows: Dimension) -> Factors:
    """Factors of N·k rows (samples merged with windows, heads or tokens) as factors of N samples.

    dW_n = Σ_k L_nk·R_nk = [L_n1 L_n2 …]·[R_n1; R_n2; …]: the parts of a sample are so many more positions.
    """
    if rows == N:
        return factors
    assert isinstance(rows, Batch)
    parts, positions = rows.before * rows.after, factors.positions
    width = factors.columns // len(factors.right)
    lead = () if factors.groups == 1 else (factors.groups,)
    matrix = len(lead) + 3  # the first of the two last axes, the rows being three

    def apart(tensor: str, last: tuple[int, int], order: tuple[int, ...], whole: tuple[int, int]) -> str:
        split = g.reshape(tensor, (rows.before, Batch(), rows.after, *lead, *last))
        return g.reshape(g.transpose(split, (1, *range(3, matrix), *order)), (N, *lead, *whole))

    return replace(
        factors,
        left=apart(
            factors.left, (factors.rows, positions), (matrix, 0, 2, matrix + 1), (factors.rows, parts * positions)
        ),
        right=tuple(
            apart(right, (positions, width), (0, 2, matrix, matrix + 1), (parts * positions, width))
            for right in factors.right
        ),
        positions=parts * positions,
        norms_only=None,
    )


def joined(g: Emitter, uses: list[Factors]) -> Factors:
    """The factors of the summed gradient of a weight with several uses: Σ L·R = [L L']·[R; R']."""
    first = uses[0]
    if len(uses) == 1:
        return first
    axis = 2 if first.groups == 1 else 3
    return Factors(
        left=g.op("Concat", *(use.left for use in uses), axis=axis),
        right=(g.op("Concat", *(use.whole_right(g) for use in uses), axis=axis - 1),),
        rows=first.rows,
        positions=sum(use.positions for use in uses),
        columns=first.columns,
        arrangement=first.arrangement,
        channels=first.channels,
        groups=first.groups,
    )


def for_norms(factors: Factors) -> Factors:
    """Those that give the norms of the rows at least cost, where dW is not needed."""
    other = factors.norms_only
    return other if other and other.norm_cost < factors.norm_cost else factors


def can_join(uses: list[Factors]) -> bool:
    """Whether all uses arrange the weight in one way."""
    key = {(use.arrangement, use.rows, use.columns, use.groups) for use in uses}
    return len(key) == 1


def product(g: Emitter, factors: Factors) -> str:
    """dW_n, arranged: [N, all_rows, columns]."""
    parts = [g.op("MatMul", factors.left, right) for right in factors.right]
    dw = parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=2 if factors.groups == 1 else 3)
    return dw if factors.groups == 1 else g.reshape(dw, (N, factors.all_rows, factors.columns))


def row_squares(g: Emitter, factors: Factors, dw: Callable[[], str]) -> str:
    """‖row of dW_n‖² for every row: [N, all_rows]. `dw` emits the direct product."""
    if not factors.ghost:
        return g.square_sum(dw(), (2,))
    if factors.gram:
        return g.reduce_sum(g.mul(g.op("MatMul", factors.gram, factors.left), factors.left), (1,))
    last = 2 if factors.groups == 1 else 3
    swap = (0, 2, 1) if last == 2 else (0, 1, 3, 2)
    right = factors.whole_right(g)
    gram = g.op("MatMul", right, g.transpose(right, swap))
    squares = g.reduce_sum(g.mul(g.op("MatMul", factors.left, gram), factors.left), (last,))
    return squares if factors.groups == 1 else g.reshape(squares, (N, factors.all_rows))


def batch_row_squares(g: Emitter, factors: Factors, dw: Callable[[], str]) -> str:
    """‖row of Σ_n dW_n‖² for every row: [all_rows]."""
    if not factors.ghost:
        return g.square_sum(g.reduce_sum(dw(), (0,)), (1,))
    if factors.groups == 1:
        left = g.reshape(g.transpose(factors.left, (1, 0, 2)), (factors.rows, N))
        right = g.reshape(factors.whole_right(g), (N, factors.columns))
        return g.square_sum(g.op("MatMul", left, right), (1,))
    left = g.reshape(g.transpose(factors.left, (1, 2, 0, 3)), (factors.groups, factors.rows, N))
    right = g.reshape(g.transpose(factors.whole_right(g), (1, 0, 2, 3)), (factors.groups, N, factors.columns))
    return g.reshape(g.square_sum(g.op("MatMul", left, right), (2,)), (factors.all_rows,))
