"""Torch networks that are measured: random weights, normalization by the statistics of given images."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from export.coverage.architectures.from_torchvision import torchvision_models
from models.networks.network import Network, architecture

RESNET50_SIZE = 224
HEAVY_SIZE = 48

Module = TypeVar("Module", bound=nn.Module)


def settled(network: Module, images: torch.Tensor) -> Module:
    """Return `network` in evaluation mode, with exactly the statistics of `images` in every BatchNorm.

    A BatchNorm that has seen no images is the identity. Running averages of a few passes leave activations that
    grow from layer to layer; the logits then saturate the softmax, and torch's p − onehot cancels in float32.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average of all passes, of which there is one
            module.reset_running_stats()
    network.train()
    with torch.no_grad():
        network(images)
    return network.eval()


def resnet50(images: int) -> nn.Module:
    """Return torchvision's ResNet-50 with random weights, settled on so many images of noise."""
    torch.manual_seed(0)
    network: nn.Module = torchvision_models().resnet50(weights=None)
    return settled(network, torch.randn(images, 3, RESNET50_SIZE, RESNET50_SIZE))


def catalogue(name: str) -> nn.Module:
    """Return a network of our own, settled on noise."""
    torch.manual_seed(0)
    return settled(Network(architecture(name)), torch.randn(64, 3, 32, 32))


def heavy() -> nn.Module:
    """Return eight convolutions of 64 channels; at 48×48 pixels they make 0.6 G multiply-adds."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (3, *[64] * 7):
        layers += [nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Small(nn.Module):
    """A convolution, a branch around another, and a linear layer: a little of everything, at any size of image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 1)
        self.relu = nn.ReLU()
        self.last = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.first(images)))
        scores: torch.Tensor = self.last((x + self.relu(self.second(x))).mean((2, 3)))
        return scores


def small() -> nn.Module:
    """Return a network that costs nothing, settled on noise."""
    torch.manual_seed(0)
    return settled(Small(), torch.randn(16, 3, 8, 8))
