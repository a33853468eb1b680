"""Classifiers of torchvision at their published widths, on small images."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from export.coverage.architectures.architecture import CLASSES, Architecture

CONVOLUTIONAL: dict[str, int] = {
    "convnext_tiny": 32,
    "efficientnet_b0": 64,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnet50": 32,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
}
POOLED = {"alexnet": 64, "vgg11": 32, "vgg11_bn": 32}
WITHOUT_AUXILIARY = {"googlenet": 64, "inception_v3": 96}
TRANSFORMER = {"patch_size": 8, "num_layers": 4, "num_heads": 3, "hidden_dim": 48, "mlp_dim": 96}
WINDOWED = {"patch_size": [4, 4], "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": [4, 4]}
MAXVIT = {
    "stem_channels": 16,
    "partition_size": 2,
    "block_channels": [16, 24],
    "block_layers": [1, 1],
    "head_dim": 8,
    "stochastic_depth_prob": 0.0,
}


def torchvision_models() -> Any:
    """Import torchvision's model definitions, also where its compiled operators cannot be loaded."""
    try:
        import torchvision.models
    except RuntimeError:
        # No classifier uses those operators, but importing torchvision fails where they are not declared. Where they
        # are there, nobody may declare them a second time.
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _libraries.append(library)  # operators vanish with the object that declared them
        import torchvision.models

    return torchvision.models


_libraries: list[torch.library.Library] = []


def _make(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    network: nn.Module = getattr(torchvision_models(), name)(weights=None, num_classes=CLASSES, **arguments)
    return network


def _make_pooled(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    """Build VGG or AlexNet for images smaller than 224 pixels: pool to one position before the classifier."""
    network: Any = _make(name, arguments, image_size)
    positions = [index for index, layer in enumerate(network.classifier) if isinstance(layer, nn.Linear)]
    channels = next(m for m in reversed(list(network.features)) if isinstance(m, nn.Conv2d)).out_channels
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    width = 256
    sizes = [channels, *[width] * (len(positions) - 1), CLASSES]
    for index, (inputs, outputs) in zip(positions, pairwise(sizes), strict=True):
        network.classifier[index] = nn.Linear(inputs, outputs)
    module: nn.Module = network
    return module


def _make_class(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    network: nn.Module = getattr(torchvision_models(), name)(num_classes=CLASSES, **arguments)
    return network


def _make_swin_v2(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    blocks = torchvision_models().swin_transformer
    kinds = {"block": blocks.SwinTransformerBlockV2, "downsample_layer": blocks.PatchMergingV2}
    network: nn.Module = blocks.SwinTransformer(num_classes=CLASSES, **kinds, **arguments)
    return network


ARCHITECTURES = (
    *(Architecture("torchvision", name, size, _make) for name, size in CONVOLUTIONAL.items()),
    *(Architecture("torchvision", name, size, _make_pooled) for name, size in POOLED.items()),
    *(
        Architecture("torchvision", name, size, _make, {"aux_logits": False, "init_weights": False})
        for name, size in WITHOUT_AUXILIARY.items()
    ),
    Architecture("torchvision", "VisionTransformer", 32, _make_class, {"image_size": 32, **TRANSFORMER}),
    Architecture("torchvision", "SwinTransformer", 32, _make_class, WINDOWED),
    Architecture("torchvision", "SwinTransformerV2", 32, _make_swin_v2, WINDOWED),
    Architecture("torchvision", "MaxVit", 64, _make_class, {"input_size": (64, 64), **MAXVIT}),
)
