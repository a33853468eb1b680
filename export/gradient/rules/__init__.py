"""The rules, by kind; importing this package registers them all."""

from export.gradient.rules import (
    activation,
    conv,
    conv_transpose,
    einsum,
    elementwise,
    fold,
    functions,
    linear,
    movement,
    normalization,
    pool,
    reduction,
    resize,
    shape,
)

__all__ = [
    "activation",
    "conv",
    "conv_transpose",
    "einsum",
    "elementwise",
    "fold",
    "functions",
    "linear",
    "movement",
    "normalization",
    "pool",
    "reduction",
    "resize",
    "shape",
]
