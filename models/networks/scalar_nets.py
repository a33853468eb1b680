"""Networks from R to R at initialization, and their derivative df/dx on a grid of points.

They are those of Balduzzi et al. 2017, "The Shattered Gradients Problem". Weights and biases are drawn with
variance 2 / fan-in (He et al. 2015), the biases as if they were one more column of the next layer. Without
biases, a rectifier net of one number would be two straight lines.

Normalization takes its statistics over the grid and holds them fixed while differentiating, as inference mode
does, so that df/dx is the derivative of a function of one x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FAMILIES = ("plain", "residual", "looks_linear")
NORMALIZATIONS = ("none", "centred", "batch")
VARIANCE_FLOOR = 1e-5


@dataclass(frozen=True)
class ScalarNet:
    """Describes a net of `depth` hidden layers of `width` rectifiers.

    The families:

        plain         h ← relu(norm(W h + b))
        residual      h ← α (h + β W relu(norm(h))), with α = 1/√(1 + β²) and β = `branch_scale`
        looks_linear  h ← W relu(h) − W relu(−h), which is linear until training moves the two W
                      apart (Balduzzi et al., section 5)
    """

    family: str
    depth: int
    normalization: str = "none"
    width: int = 200
    branch_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}; known: {', '.join(FAMILIES)}")
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"unknown normalization {self.normalization!r}; known: {', '.join(NORMALIZATIONS)}")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")


def grid(points: int = 256) -> Tensor:
    """Return the points of the paper, evenly spaced from −2 to 2: float32 [points]."""
    return torch.linspace(-2, 2, points)


def derivatives(net: ScalarNet, draws: int, points: int = 256, seed: int = 0) -> Tensor:
    """Return df/dx on the grid for `draws` independent initializations: float32 [draws, points]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([_derivative(net, points, generator) for _ in range(draws)])


def _derivative(net: ScalarNet, points: int, generator: torch.Generator) -> Tensor:
    def gaussian(rows: int, columns: int, fan_in: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * math.sqrt(2 / fan_in)

    x = grid(points).view(-1, 1).requires_grad_()
    hidden = x @ gaussian(1, net.width, 1) + gaussian(1, net.width, 1)
    if net.family == "residual":
        keep = 1 / math.sqrt(1 + net.branch_scale**2)
        hidden = residual_layers(hidden, net.depth, net.branch_scale, net.normalization, gaussian, keep)
    elif net.family == "looks_linear":
        for _ in range(net.depth - 1):
            weight = gaussian(net.width, net.width, 2 * net.width)  # variance 1/width: h goes through W whole
            hidden = torch.relu(hidden) @ weight - torch.relu(-hidden) @ weight
    else:
        hidden = torch.relu(normalize(hidden, net.normalization))
        for _ in range(net.depth - 1):
            hidden = hidden @ gaussian(net.width, net.width, net.width) + gaussian(1, net.width, net.width)
            hidden = torch.relu(normalize(hidden, net.normalization))
    output = hidden @ gaussian(net.width, 1, net.width)
    return torch.autograd.grad(output.sum(), x)[0].view(-1)


def residual_layers(
    hidden: Tensor,
    depth: int,
    branch_scale: float,
    normalization: str,
    gaussian: Callable[[int, int, int], Tensor],
    keep: float,
) -> Tensor:
    """Apply `depth` times h ← `keep` (h + β W relu(norm(h))), on [points, width]."""
    width = hidden.shape[1]
    for _ in range(depth):
        branch = torch.relu(normalize(hidden, normalization)) @ gaussian(width, width, width)
        hidden = keep * (hidden + branch_scale * branch)
    return hidden


def normalize(hidden: Tensor, normalization: str) -> Tensor:
    """Subtract the mean over the points (`centred`, `batch`) and divide by the deviation (`batch`).

    Mean and deviation are constants for autograd.
    """
    if normalization == "none":
        return hidden
    fixed = hidden.detach()
    centred = hidden - fixed.mean(0)
    if normalization == "centred":
        return centred
    return centred / (fixed.var(0, unbiased=False) + VARIANCE_FLOOR).sqrt()


def white_noise(draws: int, points: int = 256, seed: int = 0) -> Tensor:
    """Draw independent standard normal values: float32 [draws, points]."""
    return torch.randn(draws, points, generator=torch.Generator().manual_seed(seed))


def brown_noise(draws: int, points: int = 256, seed: int = 0) -> Tensor:
    """Draw random walks, the running sums of white noise: float32 [draws, points]."""
    return white_noise(draws, points, seed).cumsum(1)


def autocorrelation(series: Tensor, lags: int) -> Tensor:
    """Autocorrelate each row about its own mean, for lags 0…lags−1: [draws, points] → [draws, lags].

    This is the usual biased estimate Σ_i s_i·s_{i+k} / Σ_i s_i². A row without variation gives nan.
    """
    centred = series - series.mean(1, keepdim=True)
    energy = centred.square().sum(1)
    points = series.shape[1]
    return torch.stack([(centred[:, lag:] * centred[:, : points - lag]).sum(1) / energy for lag in range(lags)], 1)


def correlation_over_draws(series: Tensor) -> Tensor:
    """Correlate points with each other over the draws, whose mean is taken as 0: [draws, points] → [points, points]."""
    covariance = series.T @ series / len(series)
    deviation = covariance.diagonal().sqrt()
    return covariance / (deviation[:, None] * deviation[None, :])


def independent_input_correlation(
    family: str, depth: int, normalization: str, branch_scale: float, draws: int, seed: int = 0, width: int = 200
) -> tuple[float, float]:
    """Measure the correlation of the input gradients of two independent inputs, which the paper's theorems predict.

    The net has `depth` layers of `width` rectifiers and one output; residual nets have α = 1, as in the theorems.
    On 64 standard normal inputs in R^width, the correlation is the mean of ⟨g_i, g_j⟩ over pairs, divided by the
    mean of ‖g_i‖².

    Returns:
        The correlation over all draws, and its standard error.
    """
    generator = torch.Generator().manual_seed(seed)

    def gaussian(rows: int, columns: int, fan_in: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * math.sqrt(2 / fan_in)

    inputs, pairs, norms = 64, [], []
    for _ in range(draws):
        x = torch.randn(inputs, width, generator=generator).requires_grad_()
        hidden: Tensor = x
        if family == "residual":
            hidden = residual_layers(hidden, depth, branch_scale, normalization, gaussian, keep=1.0)
        else:
            for _ in range(depth):
                hidden = torch.relu(normalize(hidden @ gaussian(width, width, width), normalization))
        gradients = torch.autograd.grad((hidden @ gaussian(width, 1, width)).sum(), x)[0]
        products = gradients @ gradients.T
        norms.append(float(products.diagonal().mean()))
        pairs.append(float(products.sum() - products.diagonal().sum()) / (inputs * (inputs - 1)))
    scale = sum(norms) / draws
    ratios = torch.tensor(pairs) / scale
    return float(ratios.mean()), float(ratios.std() / math.sqrt(draws)) if draws > 1 else math.inf
