"""Networks made healthy and sick on purpose, by which the thresholds were set; the truth is known by construction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bench.harness.paths import PHOTOGRAPHS
from bench.verdicts.truth import by_growth
from models.networks.network import Architecture, Network

CLASSES = 10
SIZE = 32
WIDTH = 32
IMAGES = 24
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


@dataclass(frozen=True)
class Case:
    """One kind of network: how to build it, and what is wrong with it.

    Args:
        truth: a state, or the function that measures it on the network and its images.
        also: further findings that are true, or a matter of definition: they are neither false alarms nor misses.
        size: side of its images, in pixels.
    """

    name: str
    truth: str | Callable[[nn.Module, NDArray[np.float32]], str]
    build: Callable[[], nn.Module]
    also: frozenset[str] = field(default_factory=frozenset)
    size: int = SIZE


class CReLU(nn.Module):
    """[x, −x] through a rectifier, side by side (Shang et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(torch.cat([x, -x], dim=1))


def chain(
    depth: int,
    activation: Callable[[], nn.Module],
    scale: float = 1.0,
    gain: str = "he",
    width: int = WIDTH,
    size: int = SIZE,
) -> nn.Sequential:
    """Return `depth` linear layers with an activation between them; He or Glorot initialization times `scale`."""
    initialize = nn.init.kaiming_normal_ if gain == "he" else nn.init.xavier_normal_
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in sizes(depth, width, size):
        linear = nn.Linear(inputs, outputs)
        initialize(linear.weight)
        nn.init.zeros_(linear.bias)
        linear.weight.data.mul_(scale)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def looks_linear(depth: int) -> nn.Sequential:
    """Return CReLU with mirrored weights [W, −W], linear at initialization (Balduzzi et al. 2017, section 5)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for index, (inputs, outputs) in enumerate(sizes(depth)):
        linear = nn.Linear(2 * inputs if index else inputs, outputs)
        half = torch.empty(outputs, inputs)
        nn.init.orthogonal_(half)
        linear.weight.data = torch.cat([half, -half], dim=1) if index else half
        nn.init.zeros_(linear.bias)
        layers += [linear, CReLU()]
    return nn.Sequential(*layers[:-1])


def sizes(depth: int, width: int = WIDTH, size: int = SIZE) -> Iterator[tuple[int, int]]:
    """Return inputs and outputs of each layer of a chain."""
    return itertools.pairwise([3 * size * size, *[width] * (depth - 1), CLASSES])


def convolutional(family: str, depth: int, normalization: str, activation: str = "relu", scale: float = 1.0) -> Network:
    """Return He et al.'s CIFAR network, untrained."""
    return Network(Architecture(family, depth, activation, normalization, scale), CLASSES)


def with_dead_units(share: float, depth: int = 8, width: int = WIDTH, size: int = SIZE) -> nn.Sequential:
    """Return a rectifier chain with `share` of its middle layer's units pushed far below zero by their bias."""
    network = chain(depth, nn.ReLU, width=width, size=size)
    linears = [module for module in network if isinstance(module, nn.Linear)]
    linears[depth // 2].bias.data[: round(share * width)] = -1e4
    return network


def with_dead_channels(network: nn.Module, norm: str, share: float) -> nn.Module:
    """Push `share` of the channels that a BatchNorm gives to a rectifier far below zero."""
    module = network.get_submodule(norm)
    assert isinstance(module, nn.BatchNorm2d)
    module.bias.data[: round(share * module.num_features)] = -100.0
    return network


def with_weaker(network: nn.Module, layer: str, factor: float) -> nn.Module:
    """Multiply the weight of one layer at the end of a branch."""
    weight = network.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    weight.data.mul_(factor)
    return network


def with_weak_branch(depth: int, factor: float) -> nn.Module:
    """Return a residual net one of whose branches counts `factor` times as much as it should."""
    return with_weaker(convolutional("residual", depth, "batch"), "stages.1.1.norm2", factor)


def cases(deepest: int = 110) -> Iterator[Case]:
    """Yield the corpus, kind by kind; networks deeper than `deepest` are left out."""
    for depth in (5, 10, 30, 60):
        yield Case(f"rectifier chain {depth}", "healthy", partial(chain, depth, nn.ReLU))
    for depth in (5, 10, 30):
        yield Case(f"tanh chain {depth}", "healthy", partial(chain, depth, nn.Tanh, gain="glorot"))
    for depth in (10, 30, 60):
        yield Case(f"looks-linear chain {depth}", "healthy", partial(looks_linear, depth))
    for depth in (8, 10, 20, 40, 60):
        yield Case(f"sigmoid chain {depth}", "vanishing", partial(chain, depth, nn.Sigmoid, gain="glorot"))
    for depth in (10, 20, 30):
        yield Case(f"rectifier chain {depth}, He × 2", "exploding", partial(chain, depth, nn.ReLU, 2.0))
        yield Case(f"rectifier chain {depth}, He × 0.5", "vanishing", partial(chain, depth, nn.ReLU, 0.5))
    for share in (0.6, 0.8):
        yield Case(f"rectifier chain 8, {share:.0%} of a layer dead", "dead", partial(with_dead_units, share))
        yield Case(f"plain 8 BatchNorm, {share:.0%} of a layer dead", "dead", partial(_plain_with_dead_channels, share))
    yield Case("rectifier chain 8, a layer dead", "dead", partial(with_dead_units, 1.0), frozenset({"vanishing"}))
    for factor in (1e-3, 1e-4):
        yield Case(f"residual 20, one branch × {factor:g}", "imbalanced", partial(with_weak_branch, 20, factor))
    yield from _convolutional_cases(deepest)


def _plain_with_dead_channels(share: float) -> nn.Module:
    return with_dead_channels(convolutional("plain", 8, "batch"), "stages.1.0.norm1", share)


def _convolutional_cases(deepest: int) -> Iterator[Case]:
    untrained: list[tuple[str | Callable[[nn.Module, NDArray[np.float32]], str], str, int, str, float]] = [
        *[("healthy", "residual", depth, "batch", 1.0) for depth in (8, 20, 56, 110)],
        *[("healthy", "plain", depth, "none", 1.0) for depth in (8, 20, 56)],
        ("healthy", "plain", 8, "batch", 1.0),
        # Theory for wide layers: 1.21 per layer (Yang et al. 2019), 37 over 20 layers and 3e4 over 56.
        *[(by_growth, "plain", depth, "batch", 1.0) for depth in (20, 56, 110)],
        # A residual net without normalization doubles its variance per block: 2²⁷ over 56 layers.
        ("exploding", "residual", 56, "none", 1.0),
        *[("exploding", "plain", depth, "none", 2.0) for depth in (14, 20, 56)],
        *[("vanishing", "plain", depth, "none", 0.5) for depth in (14, 20, 56)],
    ]
    for truth, family, depth, normalization, scale in untrained:
        if depth <= deepest:
            name = f"{family} {depth}, {'BatchNorm' if normalization == 'batch' else 'no normalization'}"
            name += f", He × {scale:g}" if scale != 1 else ""
            yield Case(name, truth, partial(convolutional, family, depth, normalization, scale=scale))
    yield Case("plain 20, sigmoid", "vanishing", partial(convolutional, "plain", 20, "none", activation="sigmoid"))


def photograph_files() -> list[Path]:
    """Return the first test photographs, by name."""
    return sorted(path for path in PHOTOGRAPHS.iterdir() if path.suffix in {".jpg", ".png", ".webp"})[:IMAGES]


@cache
def photographs(size: int = SIZE) -> NDArray[np.float32]:
    """Read the first test photographs at size × size, normalised: float32 [24, 3, size, size]."""
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB").resize((size, size))) for file in photograph_files()])
    tensor = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(tensor.transpose(0, 3, 1, 2), dtype=np.float32)
