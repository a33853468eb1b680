"""torch's layout that is the faster one for whole batches on a CPU."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value", Tensor, nn.Module)


def channels_last(value: Value) -> Value:
    """Return images, or a network's weights, with the channels last in memory: faster, but not for vmap."""
    return value.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
