"""Versions of small networks, written as bundles."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from export.gradient import differentiate
from export.writing.bundle import read_description, write_bundle
from service.bundles.disk import StoredBundle, read_bundle
from tests.export.gradient.networks.torch_networks import prepared

SHIPPED = Path(__file__).parents[3] / "models/bundles/resnet20"
CLASSES = 10


class Smooth(nn.Module):
    """Every kind of layer, without a kink: the loss along a line is a smooth function."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.folded = nn.BatchNorm2d(16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)
        self.apart = nn.BatchNorm2d(16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.shared = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.tokens = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.folded(self.first(x)))
        x = self.apart(torch.tanh(self.grouped(x)))
        x = torch.tanh(self.up(x))
        x = torch.tanh(self.shared(torch.tanh(self.shared(x))))
        x = self.norm(x.flatten(2).transpose(1, 2))
        x = torch.sigmoid(self.tokens(x)) * self.scale
        return self.head(x.mean(1))  # type: ignore[no-any-return]


def written(network: nn.Module, folder: Path) -> StoredBundle:
    """Write a network of 32 × 32 pixels and ten classes as a bundle."""
    ready = prepared(network)
    graphs = {name: differentiate(ready, name) for name in ("forward", "loss_slopes")}
    described = read_description(SHIPPED).model_copy(
        update={"layers": ready.layers, "other_parameters": ready.other_parameters, "baseline": None, "features": None}
    )
    write_bundle(described, graphs, folder)  # type: ignore[arg-type]
    return read_bundle(folder, is_called=False)
