"""Architecture families with random weights, small enough to be checked layer by layer.

The definitions are torchvision's, except for the plain network, MLP-Mixer and MobileNet v1, which it lacks.
Widths and depths are those published for a small member of the family, unless that would take minutes. Images
have 32 to 96 pixels a side, and there are ten classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.network import Network, architecture

CLASSES = 10
SEED = 7
CALIBRATION_IMAGES = 16


@dataclass(frozen=True)
class Family:
    """An architecture family: how to build its network, and the side of its square images in pixels."""

    name: str
    build: Callable[[], nn.Module]
    image_size: int = 64


def build(family: Family) -> nn.Module:
    """Build the family's network in inference mode, with seeded weights and calibrated BatchNorm statistics."""
    torch.manual_seed(SEED)
    network = family.build()
    _draw_degenerate_parameters(network)
    _calibrate(network, family.image_size)
    return network.eval()


def images(family: Family, count: int) -> Tensor:
    """Draw standard normal images, float32 [count, 3, size, size]."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(count, 3, family.image_size, family.image_size, generator=generator)


def torchvision_models() -> Any:
    """Import torchvision's model definitions, also where its compiled operators cannot be loaded."""
    # No classifier uses those operators, but importing torchvision fails where they are not declared.
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _libraries.append(library)  # operators vanish with the object that declared them
    import torchvision.models

    return torchvision.models


_libraries: list[torch.library.Library] = []


def _draw_degenerate_parameters(network: nn.Module) -> None:
    """Add noise to parameters that are all ones or all zeros, because exporters merge equal tensors."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.eq(parameter.flatten()[0]).all():
                parameter.add_(torch.randn_like(parameter) * 0.1)


def _calibrate(network: nn.Module, size: int) -> None:
    """Give every BatchNorm the statistics of one batch, as training would."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        network(torch.randn(CALIBRATION_IMAGES, 3, size, size))


def _torchvision(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        network: nn.Module = getattr(torchvision_models(), name)(weights=None, num_classes=CLASSES, **arguments)
        return network

    return make


def _with_pooled_head(name: str) -> Callable[[], nn.Module]:
    """Build VGG or AlexNet for images smaller than 224 pixels: pool to one position before the classifier."""

    def make() -> nn.Module:
        network: Any = _torchvision(name)()
        positions = [index for index, layer in enumerate(network.classifier) if isinstance(layer, nn.Linear)]
        channels = next(m for m in reversed(list(network.features)) if isinstance(m, nn.Conv2d)).out_channels
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        width = 256
        sizes = [channels, *[width] * (len(positions) - 1), CLASSES]
        for index, (inputs, outputs) in zip(positions, pairwise(sizes), strict=True):
            network.classifier[index] = nn.Linear(inputs, outputs)
        module: nn.Module = network
        return module

    return make


def _vision_transformer() -> nn.Module:
    network: nn.Module = torchvision_models().VisionTransformer(
        image_size=32, patch_size=8, num_layers=4, num_heads=3, hidden_dim=48, mlp_dim=96, num_classes=CLASSES
    )
    with torch.no_grad():  # torchvision starts the head at zero, which would leave every gradient at zero
        network.heads.head.weight.normal_(std=0.2)  # type: ignore[union-attr,operator]
    return network


def _swin(block: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        definitions = torchvision_models().swin_transformer
        kinds: dict[str, Any] = {}
        if block == "v2":
            kinds = {"block": definitions.SwinTransformerBlockV2, "downsample_layer": definitions.PatchMergingV2}
        network: nn.Module = definitions.SwinTransformer(
            patch_size=[4, 4],
            embed_dim=24,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=[4, 4],
            num_classes=CLASSES,
            **kinds,
        )
        return network

    return make


class MixerBlock(nn.Module):
    """An MLP over positions, then an MLP over channels, each on a normalized residual (Tolstikhin et al. 2021)."""

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mix_positions = nn.Sequential(nn.Linear(positions, 32), nn.GELU(), nn.Linear(32, positions))
        self.mix_channels = nn.Sequential(nn.Linear(channels, 96), nn.GELU(), nn.Linear(96, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_positions(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.mix_channels(self.norm2(x))
        return mixed


class Mixer(nn.Module):
    """MLP-Mixer on 32×32 images in 8×8 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 48, 8, stride=8)
        self.blocks = nn.Sequential(*(MixerBlock(16, 48) for _ in range(3)))
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        scores: Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return scores


def _mobilenet_v1() -> nn.Module:
    """Build the network of Howard et al. 2017: thirteen depthwise-separable convolutions, at a quarter of the width."""
    plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]

    def convolution(inputs: int, outputs: int, size: int, stride: int, groups: int) -> list[nn.Module]:
        kernel = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return [kernel, nn.BatchNorm2d(outputs), nn.ReLU()]

    layers, channels = convolution(3, 8, 3, 2, 1), 8
    for outputs, stride in plan:
        layers += convolution(channels, channels, 3, stride, channels) + convolution(channels, outputs, 1, 1, 1)
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def _plain() -> nn.Module:
    """Build the network without shortcuts that He et al. (2016) compare theirs with."""
    return Network(architecture("plain20"))


FAMILIES = (
    Family("Plain-20", _plain, 32),
    Family("AlexNet", _with_pooled_head("alexnet")),
    Family("VGG-11", _with_pooled_head("vgg11"), 32),
    Family("VGG-11 with BatchNorm", _with_pooled_head("vgg11_bn"), 32),
    Family("ResNet-18", _torchvision("resnet18")),
    Family("ResNet-50", _torchvision("resnet50"), 32),
    Family("ResNeXt-50 32x4d", _torchvision("resnext50_32x4d"), 32),
    Family("WideResNet-50-2", _torchvision("wide_resnet50_2"), 32),
    Family("DenseNet-121", _torchvision("densenet121"), 32),
    Family("SqueezeNet 1.1", _torchvision("squeezenet1_1")),
    Family("GoogLeNet", _torchvision("googlenet", aux_logits=False, init_weights=False)),
    Family("Inception v3", _torchvision("inception_v3", aux_logits=False, init_weights=False), 96),
    Family("MobileNet v1", _mobilenet_v1, 32),
    Family("MobileNet v2", _torchvision("mobilenet_v2"), 32),
    Family("MobileNet v3 small", _torchvision("mobilenet_v3_small")),
    Family("EfficientNet-B0", _torchvision("efficientnet_b0")),
    Family("RegNetX-400MF", _torchvision("regnet_x_400mf"), 32),
    Family("RegNetY-400MF", _torchvision("regnet_y_400mf"), 32),
    Family("ShuffleNet v2 x0.5", _torchvision("shufflenet_v2_x0_5"), 32),
    Family("MNASNet 0.5", _torchvision("mnasnet0_5"), 32),
    Family("ConvNeXt-T", _torchvision("convnext_tiny")),
    Family("ViT", _vision_transformer, 32),
    Family("Swin", _swin("v1"), 32),
    Family("Swin v2", _swin("v2"), 32),
    Family("MLP-Mixer", Mixer, 32),
)
