"""Chains of fully connected layers at initialization, and the gradient norms of their layers.

They are the smallest nets that show vanishing and exploding gradients, and need neither a data set nor training.
They are computed in float64, where a gradient of 1e-25 still has all its digits; float32 can be chosen, to show
which gradients it loses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}
GAINS = {"sigmoid": 1.0, "tanh": 1.0, "relu": math.sqrt(2)}
"""Standard deviation of a weight times √width: variance 1/width for sigmoid and tanh (Glorot & Bengio 2010, for
square layers) and 2/width for ReLU (He et al. 2015)."""

VARIANCE_FLOOR = 1e-5


@dataclass(frozen=True)
class Chain:
    """Describes a chain: `depth` layers z = W a, a = activation(norm(z)), then a linear classifier of 10 classes.

    Weights are Gaussian with the deviation recommended for the activation (`GAINS`) times `scale`. With the
    normalization "batch", statistics are those of the samples and are differentiated, as in training.
    """

    activation: str
    depth: int
    normalization: str = "none"
    scale: float = 1.0
    width: int = 64

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {self.activation!r}; known: {', '.join(ACTIVATIONS)}")
        if self.normalization not in ("none", "batch"):
            raise ValueError(f"unknown normalization {self.normalization!r}; known: none, batch")


@dataclass(frozen=True)
class ChainGradients:
    """Gradients of one chain, as lists of `depth` numbers from the first layer to the last.

    Args:
        activation_gradient: ‖dL/dz_l‖₂ of the cross-entropy summed over the samples.
        weight_gradient: ‖dL/dW_l‖₂ of the same.
        spectral_norm: the largest singular value of W_l.
        single_precision_square: ‖dL/dz_l‖₂² as a sum of squares in float32 gives it.
    """

    activation_gradient: list[float]
    weight_gradient: list[float]
    spectral_norm: list[float]
    single_precision_square: list[float]


def gradients(chain: Chain, seed: int = 0, samples: int = 64, dtype: torch.dtype = torch.float64) -> ChainGradients:
    """Draw the weights of a chain, and differentiate its loss on standard normal inputs with random labels."""
    generator = torch.Generator().manual_seed(seed)
    deviation = chain.scale * GAINS[chain.activation] / math.sqrt(chain.width)

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    hidden = gaussian(samples, chain.width)
    weights, outputs = [], []
    for _ in range(chain.depth):
        weights.append((gaussian(chain.width, chain.width) * deviation).requires_grad_())
        outputs.append(hidden @ weights[-1])
        hidden = ACTIVATIONS[chain.activation](_normalize(outputs[-1], chain.normalization))
    logits = hidden @ gaussian(chain.width, 10) / math.sqrt(chain.width)
    labels = torch.randint(0, 10, (samples,), generator=generator)
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    slopes = torch.autograd.grad(loss, outputs + weights)
    of_outputs, of_weights = slopes[: chain.depth], slopes[chain.depth :]
    return ChainGradients(
        activation_gradient=[float(slope.double().norm()) for slope in of_outputs],
        weight_gradient=[float(slope.double().norm()) for slope in of_weights],
        spectral_norm=[float(torch.linalg.matrix_norm(weight.detach(), 2)) for weight in weights],
        single_precision_square=[float(slope.float().square().sum()) for slope in of_outputs],
    )


def _normalize(outputs: Tensor, normalization: str) -> Tensor:
    if normalization == "none":
        return outputs
    centred = outputs - outputs.mean(0)
    return centred / (centred.square().mean(0) + VARIANCE_FLOOR).sqrt()


def decades_per_layer(norms: list[float]) -> float:
    """Fit a line to log10 of the norms by layer, and return its slope towards the input.

    The slope is negative where gradients vanish. The fit is by least squares over the layers whose norm is finite
    and positive; with fewer than two of them, the slope is nan.
    """
    points = [(-layer, math.log10(norm)) for layer, norm in enumerate(norms) if 0 < norm < math.inf]
    if len(points) < 2:
        return math.nan
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
