"""The interval of a share that was counted, and of the difference of two shares on the same images."""

from __future__ import annotations

import math
from typing import Final

from service.diagnostics.schemas.versions import Difference, Share

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


def share_of(hits: int, of: int) -> Share | None:
    """Return a share with its interval; None where nothing was counted."""
    if not of:
        return None
    low, high = wilson(hits, of)
    return Share(count=hits, of=of, share=hits / of, low=low, high=high)


def paired_difference(gained: int, lost: int, of: int) -> Difference | None:
    """Return the change of a share from one count to another on the same images; None where nothing was counted.

    The 95 % interval is that of Agresti and Min 2005 (Statistics in Medicine 24, 729–740): half an image is added to
    each of the four kinds, so that it keeps its promise where few images changed.

    Args:
        gained: images that are counted only now.
        lost: images that were counted only before.
        of: all images.
    """
    if not of:
        return None
    more, less, every = gained + 0.5, lost + 0.5, of + 2
    middle = (more - less) / every
    half = Z95 * math.sqrt(more + less - (more - less) ** 2 / every) / every
    return Difference(value=(gained - lost) / of, low=max(middle - half, -1.0), high=min(middle + half, 1.0))
