"""Differences between two computations of the same quantity, and their bounds."""

from __future__ import annotations

import numpy as np

LOGIT_BOUND = {"float32": 1e-4, "float64": 1e-10}
"""Absolute, relative to the largest logit where that exceeds 1."""
NORM_BOUND = {"float32": 1e-3, "float64": 1e-8}
"""Relative."""
CONDITION_FACTOR = 4.0
LOOSEST = 0.1


class ParityError(ValueError):
    """A measured difference exceeds its bound; the message names the quantity and both numbers."""


def float32_bound(lost_by_torch: float) -> float:
    """Return the relative bound of a quantity computed in float32.

    An ill-conditioned network, such as one whose gradients explode, loses digits in any float32 arithmetic. Its
    bound is `CONDITION_FACTOR` times what torch's own float32 loses of the quantity, at most `LOOSEST`.
    """
    return max(NORM_BOUND["float32"], min(CONDITION_FACTOR * lost_by_torch, LOOSEST))


def relative_difference(answer: np.ndarray, expected: np.ndarray, per_entry: bool) -> float:
    """Return the largest relative difference, of each entry or of each sample's whole tensor.

    Where the expected value is zero or not finite, the answer must be the same: the difference is then 0 or 1.

    Args:
        per_entry: true for norms; false for tensors [n, …], whose difference is ‖answer − expected‖/‖expected‖.
    """
    if not expected.size:
        return 0.0
    if not per_entry:
        axes = tuple(range(1, expected.ndim))
        error = np.sqrt(np.square(answer - expected).sum(axis=axes))
        expected = np.sqrt(np.square(expected).sum(axis=axes))
        answer = expected + error
    ordinary = np.isfinite(expected) & (expected > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(answer - expected) / expected
    same = (answer == expected) | (np.isnan(answer) & np.isnan(expected))
    return float(np.where(ordinary, np.where(np.isfinite(relative), relative, 1.0), np.where(same, 0.0, 1.0)).max())
