"""The rules, by kind; importing this package registers them all."""

from export.gradient.rules import (
    activation,
    conv,
    elementwise,
    linear,
    normalization,
    pool,
    shape,
)

__all__ = ["activation", "conv", "elementwise", "linear", "normalization", "pool", "shape"]
