"""Operators that reduce axes of one sample.

pool            pools and means
reduction       sums, norms and extremes
normalization   normalization layers in inference mode
"""

from export.gradient.rules.reduction import normalization, pool, reduction

__all__ = ["normalization", "pool", "reduction"]
