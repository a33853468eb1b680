"""BatchNorm by its formula: the backward pass of torch's own is wrong on the CPU for some gradients.

torch 2.13 in evaluation mode, one sample, dy with its channels last in memory, as attention hands it back: dx is off
by its own size. Central differences say so, and `tests/export/coverage/test_truth.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class NormalizedByFormula(TorchFunctionMode):
    """Computes every BatchNorm in evaluation mode as (x − mean)/√(variance + ε)·γ + β inside its block."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def by_formula(
    x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor | None, shift: Tensor | None, epsilon: float
) -> Tensor:
    """Compute (x − mean)/√(variance + ε)·scale + shift; x is [n, channels, …], all else [channels]."""

    def per_channel(values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (x.ndim - 2))

    y = (x - per_channel(mean)) / torch.sqrt(per_channel(variance) + epsilon)
    y = y if scale is None else y * per_channel(scale)
    return y if shift is None else y + per_channel(shift)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Take the arguments of `functional.batch_norm`; x is [n, channels, …]."""
    if training or running_mean is None or running_var is None:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return by_formula(input, running_mean, running_var, weight, bias, eps)
