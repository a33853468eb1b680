"""An architecture that a public package defines: how its network is built, and what images it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 10
SEED = 7
DRAWING = 1
"""Number of the way in which weights are drawn; another one makes other files."""
CALIBRATION_IMAGES = 8

Build = Callable[[str, Mapping[str, Any], int], nn.Module]
"""Builds a network of `CLASSES` classes from a package's name for it, further arguments, and the side of its images."""


@dataclass(frozen=True)
class Architecture:
    """A network by its package's own name, with random weights.

    Args:
        package: that defines it.
        name: by which the package knows it.
        image_size: side of its square images in pixels.
        make: builds it.
        arguments: further ones, which make it small.
    """

    package: str
    name: str
    image_size: int
    make: Build
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.package}/{self.name}"

    @property
    def fingerprint(self) -> str:
        """Hash of everything that shapes the network but the versions of packages."""
        said = json.dumps([self.key, self.image_size, dict(self.arguments), SEED, DRAWING], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def build(architecture: Architecture) -> nn.Module:
    """Build the network in inference mode, with seeded weights and calibrated BatchNorm statistics."""
    torch.manual_seed(SEED)
    network = architecture.make(architecture.name, architecture.arguments, architecture.image_size)
    _draw_degenerate_parameters(network)
    _calibrate(network, architecture.image_size)
    forget(network)
    return network.eval().requires_grad_(True)


def images(architecture: Architecture, count: int) -> Tensor:
    """Draw standard normal images, float32 [count, 3, size, size]."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(count, 3, architecture.image_size, architecture.image_size, generator=generator)


def forget(network: nn.Module) -> None:
    """Empty the dictionaries in which some networks keep tensors from one call to the next, without their gradient."""
    for module in network.modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, dict) and any(map(torch.is_tensor, value.values())):
                value.clear()


class FirstOutput(nn.Module):
    """Returns the scores alone where a network returns more, as every export script does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        answer = self.network(image)
        scores: Tensor = answer[0]  # a ModelOutput of transformers is indexed like a tuple
        return scores


def _draw_degenerate_parameters(network: nn.Module) -> None:
    """Add noise to parameters that are all one number or equal another, because exporters merge equal tensors.

    A head or a branch that starts at zero would also leave the gradients before it at zero.
    """
    seen: dict[torch.Size, list[Tensor]] = {}
    with torch.no_grad():
        for parameter in network.parameters():
            before = seen.setdefault(parameter.shape, [])
            if parameter.eq(parameter.flatten()[0]).all() or any(parameter.equal(other) for other in before):
                parameter.add_(torch.randn_like(parameter) * 0.1)
            before.append(parameter)


def _calibrate(network: nn.Module, size: int) -> None:
    """Give every BatchNorm the statistics of one batch, as training would."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    network.eval()
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        network(torch.randn(CALIBRATION_IMAGES, 3, size, size))
    network.eval()
