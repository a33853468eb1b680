"""The networks that are measured: random weights, normalization statistics of one pass over noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from export.coverage.families import torchvision_models
from models.networks.network import Network, architecture


@dataclass(frozen=True)
class Subject:
    """A network to measure, the size of its images, and at which batches."""

    name: str
    build: Callable[[], nn.Module]
    size: int
    batches: tuple[int, ...]


def ours(name: str) -> nn.Module:
    """A network of the catalogue."""
    torch.manual_seed(0)
    return settled(Network(architecture(name)), torch.randn(64, 3, 32, 32))


def resnet50() -> nn.Module:
    """torchvision's ResNet-50."""
    torch.manual_seed(0)
    return settled(torchvision_models().resnet50(weights=None), torch.randn(4, 3, 224, 224))


def settled(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """In evaluation mode with exactly the statistics of `images`.

    Running averages of a few passes leave activations that grow from layer to layer; the logits
    then saturate the softmax, and torch's p − onehot cancels in float32.
    """
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average of all passes, of which there is one
    with torch.no_grad():
        network(images)
    return network.eval()


SUBJECTS = (
    Subject("resnet20", partial(ours, "resnet20"), 32, (1, 8, 32)),
    Subject("resnet56", partial(ours, "resnet56"), 32, (1, 8, 32)),
    Subject("resnet50", resnet50, 224, (1, 4)),
)
