"""How a network is trained: every number of a run but its data and its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with momentum on random crops and flips.

    `schedule` is `one_cycle` (linear warm-up over `warmup` of all steps, then cosine to zero) or
    `paper` (He et al. 2016, section 4.2: divided by 10 at 1/2 and 3/4 of all steps).
    `small_until` is the share of the epochs trained on images shrunk to `small_size` pixels, which
    costs about half as much per image. `precision` is `bfloat16` (matrix products and convolutions
    only; parameters stay float32) or `float32`. `clip` bounds the norm of the whole gradient;
    0 leaves it alone.
    """

    epochs: int = 24
    batch_size: int = 256
    learning_rate: float = 0.4
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    warmup: float = 0.15
    crop_padding: int = 4
    small_size: int = 24
    small_until: float = 0.4
    precision: str = "bfloat16"
    clip: float = 0.0

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate after the share `progress` in [0, 1) of all steps."""
        if self.schedule == "paper":
            return self.learning_rate * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 0.01)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))

    def image_size_at(self, epoch: int, full_size: int) -> int:
        """Side of the square images of epoch `epoch` (from 0), in pixels."""
        return min(self.small_size, full_size) if epoch < self.small_until * self.epochs else full_size


PAPER = Recipe(
    epochs=164,
    batch_size=128,
    learning_rate=0.1,
    nesterov=False,
    weight_decay=1e-4,
    schedule="paper",
    small_until=0.0,
    precision="float32",
)
"""He et al. 2016, section 4.2: 64k iterations of 128 images, 164 epochs of 50,000."""

CAUTIONARY = Recipe(epochs=4, learning_rate=0.02, clip=1.0)
"""For networks that cannot learn: a few epochs, the gradient's norm bounded so that the weights stay finite."""
