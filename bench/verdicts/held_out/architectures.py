"""Networks of other shapes than the corpus has: stacks of convolutions with any activation, and other families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.verdicts.corpus import CLASSES, photographs
from export.coverage.architectures.from_torchvision import torchvision_models

WIDTH = 24
SIZE = 48

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "ELU": nn.ELU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "hard-swish": nn.Hardswish,
}
"""None of them is in the corpus."""


def stack(depth: int, activation: Callable[[], nn.Module], normalized: bool = False) -> nn.Sequential:
    """Return `depth` 3×3 convolutions, two of which halve the size, and a linear layer."""
    layers: list[nn.Module] = []
    for index in range(depth):
        stride = 2 if index in (depth // 3, 2 * depth // 3) else 1
        layers.append(nn.Conv2d(WIDTH if index else 3, WIDTH, 3, stride, padding=1, bias=not normalized))
        layers += [nn.BatchNorm2d(WIDTH), activation()] if normalized else [activation()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES))
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def of_unit_variance(network: nn.Sequential, scale: float = 1.0) -> nn.Sequential:
    """Give every layer's output variance 1 on the photographs (Mishkin and Matas 2016), then multiply the weights."""

    def normalize(module: Any, _: object, outputs: Tensor) -> Tensor:
        deviation = outputs.std()
        module.weight.data /= deviation
        return outputs / deviation

    layers = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(normalize) for layer in layers]
    with torch.no_grad():
        network(torch.from_numpy(photographs(SIZE)))
    for layer, hook in zip(layers, hooks, strict=True):
        hook.remove()
        layer.weight.data *= scale
    return network


def from_timm(name: str, **arguments: Any) -> nn.Module:
    """Return an architecture of timm as its authors initialize it."""
    torchvision_models()  # timm imports torchvision, which must be told of its operators first
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES, **arguments)
    return network


def transformer(blocks: int) -> nn.Module:
    """Return a small vision transformer for 64 × 64 pixels, as timm initializes it."""
    return from_timm("vit_tiny_patch16_224", img_size=64, patch_size=8, embed_dim=64, num_heads=4, depth=blocks)


def densely_connected() -> nn.Module:
    """Return a DenseNet of 3 × 4 layers (Huang et al. 2017), as torchvision initializes it."""
    network: nn.Module = torchvision_models().DenseNet(12, (4, 4, 4), 24, num_classes=CLASSES)
    return network


def with_value(network: nn.Sequential, value: float) -> nn.Sequential:
    """Put one value that is not finite into a weight in the middle."""
    layers = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
    layers[len(layers) // 2].weight.data[0, 0] = value
    return network
