"""Operators that reduce axes of one sample: pools, sums, normalizations."""

from export.gradient.rules.reduction import normalization, pool, reduction

__all__ = ["normalization", "pool", "reduction"]
