"""The interval of a share that was counted."""

from __future__ import annotations

import math
from typing import Final

Z95: Final = 1.959963984540054
"""Quantile of the standard normal distribution at 0.975, for an interval of 95 %."""


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, low and high (Wilson 1927, JASA 22, 209–212).

    Unlike the interval of mean and standard error, it stays within 0 and 1 and keeps its promise for small numbers and
    for shares near 0 and 1 (Brown, Cai and DasGupta 2001, Statistical Science 16, 101–133).

    Raises:
        ValueError: nothing was counted.
    """
    if of <= 0:
        raise ValueError("the share of nothing has no interval")
    share, square = hits / of, Z95**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z95 / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of**2))
    # Exactly 0 and 1 at the ends, which rounding misses by a little.
    return middle - half if hits else 0.0, middle + half if hits < of else 1.0
