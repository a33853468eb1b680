"""The two building blocks of He et al. 2016, one with a shortcut and one without.

Both blocks own the same parameters, so a residual and a plain network of the same depth differ only in
the addition ("Deep Residual Learning for Image Recognition", section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(),
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "elu": lambda: nn.ELU(),
    "gelu": lambda: nn.GELU(),
    "sigmoid": lambda: nn.Sigmoid(),
    "tanh": lambda: nn.Tanh(),
}

NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda channels: nn.BatchNorm2d(channels),
    "none": lambda channels: nn.Identity(),
}


def convolution(in_channels: int, out_channels: int, stride: int, normalization: str) -> nn.Conv2d:
    """Make a 3×3 convolution that keeps the size at stride 1; it has a bias only where no BatchNorm follows."""
    bias = normalization == "none"
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)


class ZeroPaddedShortcut(nn.Module):
    """Subsamples the positions and pads new channels with zeros: option A of He et al., section 4.2.

    It is written as a 1×1 convolution with a constant 0/1 kernel. That gives the same numbers as slicing
    and padding, and lets inference runtimes keep the tensor in one layout.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        before = (out_channels - in_channels) // 2
        selection = torch.zeros(out_channels, in_channels, 1, 1)
        for channel in range(in_channels):
            selection[before + channel, channel] = 1.0
        self.stride = stride
        self.register_buffer("selection", selection, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.get_buffer("selection"), stride=self.stride)


class PlainBlock(nn.Module):
    """Two 3×3 convolutions, each followed by normalization and activation: [n, c, h, w] → [n, o, h/s, w/s]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: str, normalization: str) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, stride, normalization)
        self.norm1 = NORMALIZATIONS[normalization](out_channels)
        self.act1 = ACTIVATIONS[activation]()
        self.conv2 = convolution(out_channels, out_channels, 1, normalization)
        self.norm2 = NORMALIZATIONS[normalization](out_channels)
        self.act2 = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        y: Tensor = self.act2(self.norm2(self.conv2(x)))
        return y


class ResidualBlock(PlainBlock):
    """The plain block with a shortcut: x is added to F(x) before the last activation (He et al. 2016, figure 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: str, normalization: str) -> None:
        super().__init__(in_channels, out_channels, stride, activation, normalization)
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut: nn.Module = (
            nn.Identity() if same_shape else ZeroPaddedShortcut(in_channels, out_channels, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        y: Tensor = self.act2(residual + self.shortcut(x))
        return y
