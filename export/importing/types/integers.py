"""Integers that stand for numbers: q stands for (q − nought) · step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.graph.graph import Array

WHOLE = 1e-5
"""Relative error of a limit that was written as a step in float32."""


@dataclass(frozen=True)
class Integers:
    """The numbers that the integers of a tensor stand for: one `step` and `nought`, or one of each along `axis`."""

    step: Array
    nought: Array
    axis: int = 0

    def agrees(self, other: Integers) -> bool:
        """Tell whether the same integers stand for the same numbers in both."""
        return np.array_equal(self.step, other.step) and np.array_equal(
            self.nought.astype(np.int64), other.nought.astype(np.int64)
        )

    @property
    def is_one_for_all(self) -> bool:
        """True where the whole tensor has one step."""
        return self.step.size == 1 and self.nought.size == 1

    def own_limits(self) -> tuple[float | None, float | None]:
        """Return the limits of these integers that a network has of its own: 0 below, a whole number above.

        None stands for a limit that calibration found, which is the largest number it saw.
        """
        info = np.iinfo(self.nought.dtype)
        low, high = ((end - self.nought.astype(np.float64)) * self.step for end in (info.min, info.max))
        top = float(high.max()) if self.is_one_for_all else 0.0
        whole = round(top)
        is_own = whole > 0 and abs(top - whole) <= WHOLE * whole
        return 0.0 if not low.any() else None, float(whole) if is_own else None

    def floats(self, stored: Array) -> Array:
        """Return the numbers that stored integers stand for, float32."""
        step, nought = (self._along(part, stored.ndim) for part in (self.step, self.nought))
        return np.asarray((stored.astype(np.int64) - nought.astype(np.int64)).astype(np.float32) * step)

    def _along(self, part: Array, axes: int) -> Array:
        if part.size == 1:
            return part.reshape(())
        shape = [1] * axes
        shape[self.axis % axes] = -1
        return part.reshape(shape)


UNIT = Integers(np.ones((), np.float32), np.zeros((), np.int32))
"""Integers that stand for themselves."""
