"""Stochastic gradient descent with momentum, and Muon for the filters of convolutions.

Both read their learning rate from a number or from a tensor on the device. A step captured in a CUDA graph needs the
tensor, because a graph keeps every number that it was captured with.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from models.training.recipe import Recipe

Rate = float | Tensor
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Momentum(torch.optim.Optimizer):
    """Updates each group of parameters by momentum; a group whose `muon` is true by orthogonalised momentum.

    Groups have `momentum`, `nesterov`, `weight_decay` and `muon`. Every buffer of momentum exists from the start and
    keeps its memory.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], recipe: Recipe) -> None:
        defaults = {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "muon": False}
        super().__init__(groups, {**defaults, "weight_decay": recipe.weight_decay})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step_at(self, rate: Rate, muon_rate: Rate) -> None:
        """Take a step with the gradients in `grad`; `muon_rate` is for the groups of Muon."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            if group.get("muon"):
                if group["weight_decay"]:
                    _scale_down(parameters, rate, group["weight_decay"])
                update = orthogonalized(self._moved(gradients, buffers, group))
                _descend(parameters, update, muon_rate)
            else:
                if group["weight_decay"]:
                    gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
                _descend(parameters, self._moved(gradients, buffers, group), rate)

    @staticmethod
    def _moved(gradients: list[Tensor], buffers: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Add the gradients to the momentum, and return the direction to go against."""
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        if group["nesterov"]:
            return list(torch._foreach_add(gradients, buffers, alpha=group["momentum"]))
        return buffers


def _descend(parameters: list[Tensor], update: list[Tensor], rate: Rate) -> None:
    """Subtract rate · update; with a number for the rate as torch's own SGD does it, bit for bit."""
    if isinstance(rate, Tensor):
        torch._foreach_sub_(parameters, torch._foreach_mul(update, rate))
    else:
        torch._foreach_add_(parameters, update, alpha=-rate)


def _scale_down(parameters: list[Tensor], rate: Rate, weight_decay: float) -> None:
    """Multiply the parameters by 1 − rate · weight decay."""
    torch._foreach_mul_(parameters, 1 - rate * weight_decay)


def orthogonalized(matrices: list[Tensor]) -> list[Tensor]:
    """Replace each filter bank [o, i, h, w], seen as a matrix [o, i·h·w], by about the nearest semi-orthogonal one.

    Five steps of a quintic Newton-Schulz iteration bring every singular value near 1, to between about 0.7 and 1.2
    (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024). A matrix with more rows than
    columns is multiplied by √(rows/columns). Banks of one shape are done together.
    """
    found: list[Tensor] = [matrix.new_empty(0) for matrix in matrices]
    places = defaultdict(list)
    for place, matrix in enumerate(matrices):
        places[matrix.shape].append(place)
    for shape, same in places.items():
        stacked = torch.stack([matrices[place].reshape(shape[0], -1) for place in same])
        rows, columns = stacked.shape[1:]
        x = _newton_schulz(stacked) * math.sqrt(max(1.0, rows / columns))
        for place, one in zip(same, x.unbind(), strict=True):
            # In the layout of the parameter, so that the update is one kernel for all banks.
            found[place] = torch.empty_like(matrices[place]).copy_(one.view(shape))
    return found


def _newton_schulz(stacked: Tensor) -> Tensor:
    a, b, c = NEWTON_SCHULZ
    wide = stacked.shape[1] <= stacked.shape[2]
    x: Tensor = stacked if wide else stacked.mT
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.mT


def optimizer_of(network: nn.Module, recipe: Recipe) -> Momentum:
    """Sort the parameters of a network into the groups that the recipe asks for; by default there is one."""
    groups: dict[tuple[bool, bool], list[Tensor]] = defaultdict(list)
    for parameter in network.parameters():
        muon = recipe.optimizer == "muon" and parameter.ndim == 4
        decays = recipe.decay_norms_and_biases or parameter.ndim > 1
        groups[muon, decays].append(parameter)
    return Momentum(
        (
            {"params": parameters, "muon": muon, "weight_decay": recipe.weight_decay if decays else 0.0}
            for (muon, decays), parameters in groups.items()
        ),
        recipe,
    )
