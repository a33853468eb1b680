"""Make a network deeper by layers that change nothing (He et al. 2016, section 1).

"The added layers are identity mapping, and the other layers are copied from the learned shallower model." Since
such a solution exists, a deeper plain network need not have the higher training error at which optimizers leave it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from models.networks.blocks import PlainBlock, ResidualBlock
from models.networks.network import Network


@torch.no_grad()
def with_identity_layers(network: Network, depth: int) -> Network:
    """Copy `network` into one of `depth` layers in inference mode, with identity blocks at the end of each stage.

    Raises:
        ValueError: `depth` is less than the network's own, or its activation is no rectifier. An identity block
            needs an activation that leaves its own output alone, as relu(relu(x)) = relu(x).
    """
    shallow = network.architecture
    if shallow.activation != "relu":
        raise ValueError(f"identity layers need a rectifier, the network has {shallow.activation}")
    if depth < shallow.depth:
        raise ValueError(f"the network has {shallow.depth} layers already, more than {depth}")
    deep = Network(replace(shallow, depth=depth), classes=network.classifier.out_features)
    deep.to(network.classifier.weight.dtype)  # √(1 + ε) below must not be rounded to less
    deep.load_state_dict(network.state_dict(), strict=False)
    for stage, trained in zip(deep.stages.children(), network.stages.children(), strict=True):
        for block in list(stage.children())[len(list(trained.children())) :]:
            if isinstance(block, PlainBlock):
                _make_identity(block)
    return deep.eval()


def added_layers(network: Network, deep: Network) -> set[str]:
    """Return the names of the layers that `deep` has and `network` lacks."""
    return {name for name in _layers(deep) if name not in _layers(network)}


def _layers(network: Network) -> set[str]:
    return {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def _make_identity(block: PlainBlock) -> None:
    """Set the weights so that a plain block passes its input on, and a residual one adds nothing to it."""
    for convolution, normalization in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
        nn.init.dirac_(convolution.weight)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
        if isinstance(normalization, nn.BatchNorm2d):
            normalization.reset_parameters()  # mean 0, variance 1, shift 0
            normalization.weight.fill_(math.sqrt(1 + normalization.eps))
    if isinstance(block, ResidualBlock):
        nn.init.zeros_(block.conv2.weight)
