"""The networks that are measured, at which batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bench.bundles.networks import RESNET50_SIZE, resnet50, settled
from models.networks.network import Network, architecture


@dataclass(frozen=True)
class Subject:
    """A network to measure, the size of its images, and at which batches."""

    name: str
    build: Callable[[], nn.Module]
    size: int
    batches: tuple[int, ...]


def ours(name: str) -> nn.Module:
    """Return a network of the catalogue, settled on noise."""
    torch.manual_seed(0)
    return settled(Network(architecture(name)), torch.randn(64, 3, 32, 32))


SUBJECTS = (
    Subject("resnet20", partial(ours, "resnet20"), 32, (1, 8, 32)),
    Subject("resnet56", partial(ours, "resnet56"), 32, (1, 8, 32)),
    Subject("resnet50", partial(resnet50, images=4), RESNET50_SIZE, (1, 4)),
)
