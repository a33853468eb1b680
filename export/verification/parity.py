"""Two computations of the same quantity: their difference, and the bounds that it must keep."""

from __future__ import annotations

import numpy as np

LOGIT_BOUND = {"float32": 1e-4, "float64": 1e-10}
NORM_BOUND = {"float32": 1e-3, "float64": 1e-8}


class ParityError(ValueError):
    """A measured difference exceeds its bound; the message names the quantity and both numbers."""


def relative_difference(answer: np.ndarray, expected: np.ndarray, per_entry: bool) -> float:
    """Largest relative difference: of each entry (norms), or of each sample's whole tensor.

    Where the reference is zero or not finite the answer must be the same: the difference is then
    0 or 1.
    """
    if not expected.size:
        return 0.0
    if not per_entry:
        axes = tuple(range(1, expected.ndim))
        error, expected = (
            np.sqrt(np.square(answer - expected).sum(axis=axes)),
            np.sqrt(np.square(expected).sum(axis=axes)),
        )
        answer = expected + error
    ordinary = np.isfinite(expected) & (expected > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(answer - expected) / expected
    same = (answer == expected) | (np.isnan(answer) & np.isnan(expected))
    return float(np.where(ordinary, np.where(np.isfinite(relative), relative, 1.0), np.where(same, 0.0, 1.0)).max())
