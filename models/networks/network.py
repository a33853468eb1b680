"""He et al.'s CIFAR networks of 6n+2 weighted layers, and the catalogue of those that can be trained by name.

A network has three stages of n blocks, with 16, 32 and 64 channels, then global average pooling and a linear
classifier ("Deep Residual Learning for Image Recognition", section 4.2). `ResidualBlock` and `PlainBlock` hold
the same parameters, so a family is chosen by its block alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from models.networks.blocks import ACTIVATIONS, NORMALIZATIONS, PlainBlock, ResidualBlock

STAGE_CHANNELS = (16, 32, 64)
FAMILIES: dict[str, type[PlainBlock]] = {"residual": ResidualBlock, "plain": PlainBlock}


@dataclass(frozen=True)
class Architecture:
    """Describes a network completely, except for its number of classes.

    `initial_scale` multiplies the standard deviation of He initialization (He et al. 2015). At 2, the gradients
    of a rectifier network without normalization explode.

    Raises:
        ValueError: the depth is not 6n+2, or a name is unknown.
    """

    family: str
    depth: int
    activation: str = "relu"
    normalization: str = "batch"
    initial_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ValueError(f"depth must be 6n+2 and at least 8 (8, 14, 20, …), got {self.depth}")
        for kind, value, known in (
            ("family", self.family, FAMILIES),
            ("activation", self.activation, ACTIVATIONS),
            ("normalization", self.normalization, NORMALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"unknown {kind} {value!r}; known: {', '.join(known)}")


CATALOGUE: dict[str, Architecture] = {
    **{f"resnet{depth}": Architecture("residual", depth) for depth in (8, 20, 32, 44, 56, 110)},
    **{f"plain{depth}": Architecture("plain", depth) for depth in (8, 20, 32, 44, 56, 110)},
    "plain20-sigmoid": Architecture("plain", 20, activation="sigmoid", normalization="none"),
    "plain20-relu": Architecture("plain", 20, normalization="none"),
    "plain56-relu-exploding": Architecture("plain", 56, normalization="none", initial_scale=2.0),
}


def architecture(name: str, **changes: str | int | float) -> Architecture:
    """Look up `name` in the catalogue, and replace the fields named in `changes`.

    Raises:
        ValueError: the name is not in the catalogue.
    """
    if name not in CATALOGUE:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(CATALOGUE)}")
    return replace(CATALOGUE[name], **changes)  # type: ignore[arg-type]


class Network(nn.Module):
    """Computes logits [n, classes] of images [n, 3, h, w]."""

    def __init__(self, architecture: Architecture, classes: int = 10) -> None:
        super().__init__()
        self.architecture = architecture
        block = FAMILIES[architecture.family]
        activation, normalization = architecture.activation, architecture.normalization
        blocks_per_stage = (architecture.depth - 2) // 6

        channels = STAGE_CHANNELS[0]
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=normalization == "none")
        self.stem_norm = NORMALIZATIONS[normalization](channels)
        self.stem_act = ACTIVATIONS[activation]()
        self.stages = nn.Sequential()
        for index, width in enumerate(STAGE_CHANNELS):
            stage = nn.Sequential()
            for position in range(blocks_per_stage):
                stride = 2 if index > 0 and position == 0 else 1
                stage.append(block(channels, width, stride, activation, normalization))
                channels = width
            self.stages.append(stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        self._initialize(architecture.initial_scale)

    def _initialize(self, scale: float) -> None:
        """Draw weights with variance scale² · 2 / fan_in, and set biases to 0 (He et al. 2015, equation 10)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                module.weight.data.mul_(scale)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem_act(self.stem_norm(self.stem(images)))
        x = self.stages(x)
        x = self.pool(x).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits
