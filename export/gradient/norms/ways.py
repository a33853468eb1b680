"""The ways to the squared norms of the rows of dW_n; each forms only what it needs, and forms it once."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from export.gradient.rules.factors import Arrangement, Factors, Gram
from export.graph.emitter import Emitter
from export.graph.graph import N


class Way(Protocol):
    """One layer's squared norms; `arrangement` says which row of the gradient belongs to which channel."""

    arrangement: Arrangement

    def row_squares(self) -> str:
        """‖row of dW_n‖² for every row: [N, rows]."""
        ...

    def batch_row_squares(self) -> str:
        """‖row of Σ_n dW_n‖² for every row: [rows]."""
        ...


class Direct:
    """dW_n itself is formed."""

    def __init__(self, g: Emitter, factors: Factors) -> None:
        self._g, self._factors = g, factors
        self.arrangement, self.columns = factors.arrangement, factors.columns

    @cached_property
    def product(self) -> str:
        """dW_n, arranged: [N, rows, columns]."""
        g, factors = self._g, self._factors
        parts = [g.op("MatMul", factors.left, right) for right in factors.right]
        dw = _joined(g, parts, factors.matrix_axis + 1)
        return dw if factors.groups == 1 else g.reshape(dw, (N, self.arrangement.rows, factors.columns))

    def row_squares(self) -> str:
        return self._g.square_sum(self.product, (2,))

    def batch_row_squares(self) -> str:
        return self._g.square_sum(self._g.reduce_sum(self.product, (0,)), (1,))


class Ghost:
    """dW_n is never formed: ‖row r‖² = Σ_t ((L·(R·Rᵀ)) ∘ L)_rt."""

    def __init__(self, g: Emitter, factors: Factors) -> None:
        self._g, self._factors = g, factors
        self.arrangement = factors.arrangement

    def row_squares(self) -> str:
        g, left, right, first = self._g, self._factors.left, self._whole_right, self._factors.matrix_axis
        gram = g.op("MatMul", right, g.transpose(right, (*range(first), first + 1, first)))
        squares = g.reduce_sum(g.mul(g.op("MatMul", left, gram), left), (first + 1,))
        return squares if self._factors.groups == 1 else g.reshape(squares, (N, self.arrangement.rows))

    def batch_row_squares(self) -> str:
        """Σ_n L_n·R_n is one product over all positions of all samples."""
        g, factors = self._g, self._factors
        if factors.groups == 1:
            left = g.reshape(g.transpose(factors.left, (1, 0, 2)), (factors.rows, N))
            right = g.reshape(self._whole_right, (N, factors.columns))
            return g.square_sum(g.op("MatMul", left, right), (1,))
        left = g.reshape(g.transpose(factors.left, (1, 2, 0, 3)), (factors.groups, factors.rows, N))
        right = g.reshape(g.transpose(self._whole_right, (1, 0, 2, 3)), (factors.groups, N, factors.columns))
        return g.reshape(g.square_sum(g.op("MatMul", left, right), (2,)), (self.arrangement.rows,))

    @property
    def _whole_right(self) -> str:
        return _joined(self._g, self._factors.right, self._factors.matrix_axis + 1)


class GivenGram:
    """The ghost norm from an R·Rᵀ that a rule knows without R; it has no gradient of the batch."""

    def __init__(self, g: Emitter, gram: Gram) -> None:
        self._g, self._gram = g, gram
        self.arrangement = gram.arrangement

    def row_squares(self) -> str:
        g, gram = self._g, self._gram
        return g.reduce_sum(g.mul(g.op("MatMul", gram.gram, gram.left), gram.left), (1,))

    def batch_row_squares(self) -> str:
        raise NotImplementedError("the planner takes a Gram matrix only where no gradient of the batch is wanted")


def _joined(g: Emitter, parts: tuple[str, ...] | list[str], axis: int) -> str:
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=axis)
