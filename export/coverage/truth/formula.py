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
    mean, variance, scale, shift = (
        None if value is None else value.reshape(-1, *[1] * (input.ndim - 2))
        for value in (running_mean, running_var, weight, bias)
    )
    assert mean is not None
    assert variance is not None
    y = (input - mean) / torch.sqrt(variance + eps)
    y = y if scale is None else y * scale
    return y if shift is None else y + shift
