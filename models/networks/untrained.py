"""Networks as they are before training, in the mode in which they are diagnosed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.network import Architecture, Network


@torch.no_grad()
def untrained(architecture: Architecture, images: Tensor, seed: int = 0, classes: int = 10) -> Network:
    """A network at initialization in inference mode, its BatchNorm statistics those of `images` [n, 3, h, w].

    A fresh BatchNorm holds mean 0 and variance 1 and would be the identity in inference mode; one
    pass over real images gives it the statistics that the first step of training would see.
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
