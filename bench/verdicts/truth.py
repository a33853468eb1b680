"""Truth that construction alone does not settle: measured by torch in float64, without the product's rules.

Theory says how a gradient grows in the limit of width and depth; a network of 16 to 64 channels has its own figure. And
a rectifier net can be born with dead units (Lu et al. 2019, "Dying ReLU and initialization"), more of them the deeper
and narrower it is, without anybody having killed one.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Images = NDArray[np.float32]

EXPLODED = 30.0
"""Gradient of the first layers over that of the last from which a network is exploding."""
ENDS = 3
DEAD = 0.5
"""A layer is dead if more than this share of its units is 0 on every input."""
VARIED = 3000


def by_growth(network: nn.Module, images: Images) -> str:
    """Return "exploding" if the gradient grows 30-fold towards the input in a training step, else "healthy"."""
    return "exploding" if growth(network, images) >= EXPLODED else "healthy"


def growth(network: nn.Module, images: Images) -> float:
    """Return ‖dL/dW‖ of the first three layers over the last three, of the mean loss, with the batch's statistics."""
    stepping = copy.deepcopy(network).double().train()
    labels = torch.arange(len(images)) % 10
    functional.cross_entropy(stepping(torch.from_numpy(images).double()), labels).backward()  # type: ignore[no-untyped-call]
    norms = [float(m.weight.grad.norm()) for m in stepping.modules() if isinstance(m, nn.Conv2d | nn.Linear)]  # type: ignore[union-attr]
    return float(np.median(norms[:ENDS]) / np.median(norms[-ENDS:]))


def has_dead_layer(network: nn.Module, images: Images) -> bool:
    """Return whether over half of a rectifier's units are 0 at every position of every input that we can think of."""
    fired: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, _: object, outputs: Tensor) -> None:
        here = (outputs > 0).flatten(2).any(2).any(0) if outputs.ndim > 2 else (outputs > 0).any(0)
        fired[module] = fired[module] | here if module in fired else here

    watched = copy.deepcopy(network).double().eval()
    for module in watched.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
            module.register_forward_hook(remember)
    with torch.no_grad():
        for batch in torch.split(varied(images), 250):
            watched(batch.double())
    return any(1 - float(here.double().mean()) > DEAD for here in fired.values())


def varied(images: Images) -> Tensor:
    """Return the images, crops of them at any size and contrast, their negatives, noise, and plain colours."""
    generator = torch.Generator().manual_seed(0)
    photographs = torch.from_numpy(images)
    side = photographs.shape[-1]
    made = [photographs, -photographs]
    for row in torch.randint(len(photographs), (VARIED // 2,), generator=generator).tolist():
        size = int(torch.randint(4, side + 1, (1,), generator=generator))
        top, left = (int(torch.randint(side - size + 1, (1,), generator=generator)) for _ in range(2))
        crop = photographs[row : row + 1, :, top : top + size, left : left + size]
        contrast = float(torch.randn(1, generator=generator)) * 2
        made.append(functional.interpolate(crop, size=(side, side), mode="bilinear") * contrast)
    noise = torch.randn(VARIED // 4, *photographs.shape[1:], generator=generator)
    colours = torch.randn(VARIED // 4, photographs.shape[1], 1, 1, generator=generator).expand_as(noise) * 2
    return torch.cat([*made, noise, colours])
