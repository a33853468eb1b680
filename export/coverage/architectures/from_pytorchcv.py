"""Classifiers of pytorchcv, one for each of its definitions, at the smallest width it offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from export.coverage.architectures.architecture import CLASSES, Architecture
from export.coverage.architectures.from_torchvision import torchvision_models

NAMES: tuple[tuple[int, str], ...] = (
    (
        32,
        """
        airnext50_32x4d_r2 bam_resnet18 cbam_resnet18 densenet40_k12_cifar10 diapreresnet10
        diapreresnet20_cifar10 diaresnet10 diaresnet20_cifar10 dicenet_wd5 diracnet18v2 ibn_resnet50
        isqrtcovresnet18 msdnet22_cifar10 nin_cifar10 octresnet10_ad2 preresnet10 preresnet20_cifar10
        resattnet56 resdropresnet20_cifar10 resneta10 rir_cifar10 ror3_56_cifar10 senet16 sepreresnet10
        seresnet10 seresnet20_cifar10 shakedropresnet20_cifar10 shakeshakeresnet20_2x16d_cifar10 sharesnet18
        wrn20_10_1bit_cifar10 xdensenet40_2_k24_bc_cifar10
        """,
    ),
    (
        64,
        """
        bagnet9 channelnet condensenet74_c4_g4 darknet_tiny darts dla46c drnd22 efficientnet_b0b
        efficientnet_edge_small_b espnetv2_wd2 fbnet_cb fdmobilenet_wd4 ghostnet hardnet39ds igcv3_wd4
        menet108_8x1_g3 mnasnet_a1 mobilenet_wd4 mobilenetb_wd4 mobilenetv2_wd4 mobilenetv2b_wd4
        mobilenetv3_large_w7d20 peleenet proxylessnas_cpu regnety002 shufflenet_g1_wd4 shufflenet_g3_wd4
        shufflenetv2_wd2 shufflenetv2b_wd2 spnasnet sqnxt23_w1 sqnxt23v5_w1 squeezenet_v1_0 squeezeresnet_v1_1
        vovnet27s
        """,
    ),
    (96, "bninception inceptionresnetv1"),
    (128, "nasnet_4a1056"),
)
FIXED = ("nasnet", "efficientnet")
"""They refuse to be told another size than their own, and take any."""


def _make(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    torchvision_models()  # pytorchcv imports torchvision
    from pytorchcv.model_provider import get_model

    sized = {"in_size": (image_size, image_size)} if not name.startswith(FIXED) else {}
    network: nn.Module = get_model(name, pretrained=False, num_classes=CLASSES, **sized)
    for part in network.modules():
        if isinstance(getattr(part, "final_pool", None), nn.AvgPool2d):
            part.final_pool = nn.AdaptiveAvgPool2d(1)  # it has the size that 224 pixels leave
    return network


def _listed() -> Iterator[Architecture]:
    for image_size, names in NAMES:
        for name in names.split():
            yield Architecture("pytorchcv", name, image_size, _make)


ARCHITECTURES = tuple(sorted(_listed(), key=lambda architecture: architecture.name))
