"""Networks before training, in inference mode, so that they can be diagnosed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.network import Architecture, Network


@torch.no_grad()
def untrained(architecture: Architecture, images: Tensor, seed: int = 0, classes: int = 10) -> Network:
    """Initialize a network, and take its BatchNorm statistics from `images` [n, 3, h, w].

    A fresh BatchNorm holds mean 0 and variance 1, which makes it the identity in inference mode. One pass over
    real images gives it the statistics that the first step of training would see.
    """
    torch.manual_seed(seed)
    network = Network(architecture, classes)
    momenta = {}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            momenta[module] = module.momentum
            module.momentum = None  # a plain average over the passes, here one
    network.train()(images)
    for module, momentum in momenta.items():
        module.momentum = momentum
    return network.eval()
