"""A moving average of the weights, with BatchNorm's statistics."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from models.networks.network import Network


class Average:
    """Holds a network whose numbers are the moving averages of another's: a ← a + share · (w − a) after each step."""

    def __init__(self, source: Network) -> None:
        self.network = copy.deepcopy(source).requires_grad_(False)
        state, own = source.state_dict(), self.network.state_dict()
        self._pairs = [(own[name], state[name]) for name in own if own[name].is_floating_point()]
        self._counts = [(own[name], state[name]) for name in own if not own[name].is_floating_point()]

    @torch.no_grad()
    def update(self, share: Tensor) -> None:
        """Move towards the source's numbers by `share`, a tensor without dimensions; counts of batches are copied."""
        averages, values = [average for average, _ in self._pairs], [value for _, value in self._pairs]
        differences = torch._foreach_sub(values, averages)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(averages, differences)
        for count, current in self._counts:
            count.copy_(current)
