"""Grad-CAM by torch's hooks and the gradient of a logit by autograd, one sample at a time: explanations' truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def evidence_by_hooks(
    network: nn.Module, module: nn.Module, image: np.ndarray, label: Sequence[int], *, channels_last: bool = False
) -> np.ndarray:
    """Σ_c α_c·A_c of a module's first output A at every position, α the mean of dz/dA over the positions.

    The formula of Selvaraju and others (2017), before its rectifier; [n, h·w] in float64. Label -1 is the predicted.
    """
    rows = []
    for sample, number in zip(_samples(network, image), label, strict=True):
        given: list[Tensor] = []
        handle = module.register_forward_hook(lambda _, __, y, given=given: given.append(y))
        logit = _logit(network(sample), number)
        handle.remove()
        (gradient,) = torch.autograd.grad(logit, given[0])
        positions, channels = ((1, 2), 3) if channels_last else ((2, 3), 1)
        weights = gradient.mean(positions, keepdim=True)
        rows.append((weights * given[0]).sum(channels).flatten().detach().numpy())
    network.float()
    return np.stack(rows)


def logit_gradient_by_autograd(network: nn.Module, image: np.ndarray, label: Sequence[int]) -> np.ndarray:
    """dz/dinput, [n, image numbers] in float64."""
    rows = []
    for sample, number in zip(_samples(network, image), label, strict=True):
        (gradient,) = torch.autograd.grad(_logit(network(sample), number), sample)
        rows.append(gradient.flatten().numpy())
    network.float()
    return np.stack(rows)


def _samples(network: nn.Module, image: np.ndarray) -> list[Tensor]:
    network.double().eval()
    return [torch.from_numpy(sample[None]).double().requires_grad_() for sample in image]


def _logit(scores: Tensor, number: int) -> Tensor:
    return scores[0, int(scores.argmax()) if number < 0 else number]
