"""Recipes: every number that decides how a network is trained, except the data and the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Describes stochastic gradient descent with momentum on random crops and flips.

    Args:
        schedule: `one_cycle` (linear warm-up over the share `warmup` of all steps, then cosine to zero) or
            `paper` (He et al. 2016, section 4.2: divided by 10 at 1/2 and 3/4 of all steps).
        crop_padding: pixels of zeros around an image before it is cropped.
        small_until: share of the epochs, from the first, trained on images shrunk to `small_size` pixels; such an
            image costs about half as much.
        precision: `float32`, or `bfloat16` for matrix products and convolutions; parameters stay float32.
        clip: largest norm of the whole gradient; 0 sets no bound.
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
        """Return the learning rate after the share `progress` in [0, 1) of all steps."""
        if self.schedule == "paper":
            return self.learning_rate * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 0.01)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))

    def image_size_at(self, epoch: int, full_size: int) -> int:
        """Return the side of the square images of an epoch, counted from 0, in pixels."""
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
"""Suits networks that cannot learn: few epochs, and a bounded gradient so that the weights stay finite."""
