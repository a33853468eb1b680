"""Central differences of the loss: a truth that needs no autograd."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 7
STEP = 1e-7
"""Length of a step in the weights, or relative change of the loss, whichever moves the weights less."""
DIRECTIONS = 3


def central_differences(network: nn.Module, batch: Tensor) -> float:
    """Compare Σ_l r_l·‖dW_l‖ with a central difference of the loss, for random r in [0.5, 1.5].

    The step moves every weight W_l along r_l·dW_l/‖dW_l‖ at once, in float64, for the first sample.

    Returns:
        The largest relative difference over `DIRECTIONS` draws of r.
    """
    network = network.double()
    parameters: list[Tensor] = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    image, label = batch[:1].double(), torch.tensor([0])
    loss = functional.cross_entropy(network(image), label)
    gradients = torch.autograd.grad(loss, parameters)
    norms = torch.stack([gradient.norm() for gradient in gradients])
    generator, worst = torch.Generator().manual_seed(SEED), 0.0
    for _ in range(DIRECTIONS):
        factors = torch.rand(len(parameters), generator=generator, dtype=torch.float64) + 0.5
        slope = float((factors * norms).sum())
        step = STEP * max(1.0, loss.item()) / max(1.0, slope)
        steps = [f * g / n if n else torch.zeros_like(g) for f, g, n in zip(factors, gradients, norms, strict=True)]
        losses = []
        with torch.no_grad():
            for sign in (1.0, -2.0):
                torch._foreach_add_(parameters, steps, alpha=sign * step)
                losses.append(functional.cross_entropy(network(image), label))
            torch._foreach_add_(parameters, steps, alpha=step)
        worst = max(worst, abs(float(losses[0] - losses[1]) / (2 * step * slope) - 1.0))
    network.float()
    return worst
