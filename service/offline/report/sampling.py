"""The norms of as many rows as memory may hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from service.contract.arrays import Array, Float64

MOST_NUMBERS: Final = 2_000_000
"""Numbers that are kept: 16 MB."""
LEAST_ROWS: Final = 1_000


class EveryKth:
    """Every k-th of the rows that are given, where k doubles whenever the rows become too many."""

    def __init__(self, width: int) -> None:
        self._most = max(LEAST_ROWS, MOST_NUMBERS // max(width, 1))
        self._width, self._kept = width, list[Array]()
        self.step, self.given = 1, 0

    def take(self, row: list[float]) -> None:
        if self.given % self.step == 0:
            self._kept.append(np.array(row))
        self.given += 1
        if len(self._kept) > self._most:
            self._kept, self.step = self._kept[::2], 2 * self.step

    @property
    def rows(self) -> Float64:
        """The rows that are kept, float64 [rows, width]."""
        return np.array(self._kept, np.float64).reshape(len(self._kept), self._width)
