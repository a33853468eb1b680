"""A layer's weight gradient as its rule gives it: a product of two factors, dW_n = L_n·R_n for every sample n.

L_n [rows, positions] is made of the cotangent, R_n [positions, columns] of the layer's input. A rule gives
the factors and nothing else; `export.gradient.norms` decides what is computed with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from export.graph.emitter import Emitter
from export.graph.graph import Array, Dimension, N


@dataclass(frozen=True)
class Arrangement:
    """The layout of a weight as the matrix of its gradient: reshaped to `split`, transposed by `order`, flattened.

    `channels` has the output channel of every row, over all groups.
    """

    split: tuple[int, ...]
    order: tuple[int, ...]
    channels: Array = field(compare=False)

    @property
    def rows(self) -> int:
        """Rows of the matrix, over all groups."""
        return int(self.channels.size)

    def matrix(self, weight: Array) -> Array:
        """Arrange an array: [rows, columns]."""
        return np.ascontiguousarray(weight.reshape(self.split).transpose(self.order)).reshape(self.rows, -1)

    def emit(self, g: Emitter, weight: str, shape: tuple[int, ...]) -> str:
        """Arrange the constant `weight` to `shape`, by nodes that the runtime folds at load."""
        return g.reshape(g.transpose(g.reshape(weight, self.split), self.order), shape)


@dataclass(frozen=True)
class Factors:
    """dW_n = left_n·right_n, of the summed losses of the samples.

    left   [N, rows, positions], or [N, groups, rows, positions] where groups > 1
    right  [N, positions, columns], likewise; it may come in several parts, whose columns lie side by side:
           their products are joined, which are smaller than the parts
    samples    the first axis: N, or N·k where k windows, heads or tokens of a sample are rows of their own
    """

    left: str
    right: tuple[str, ...]
    rows: int
    positions: int
    columns: int
    arrangement: Arrangement
    groups: int = 1
    samples: Dimension = N

    @property
    def matrix_axis(self) -> int:
        """The first axis of the matrices, behind the samples and the groups."""
        return 1 if self.groups == 1 else 2


@dataclass(frozen=True)
class Gram:
    """R_n·R_nᵀ without R_n: enough for the norms of the rows of dW_n, not for dW_n itself.

    left   [N, positions, rows], the transpose of L
    gram   [N, positions, positions]
    cost   multiply-adds per sample that `gram` takes
    """

    left: str
    gram: str
    rows: int
    positions: int
    cost: float
    arrangement: Arrangement


@dataclass(frozen=True)
class Alternatives:
    """The factors of one gradient in several ways, each with the numbers per sample that it copies."""

    ways: tuple[tuple[float, Callable[[], Factors]], ...]
    gram: Gram | None = None
