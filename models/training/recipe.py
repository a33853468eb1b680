"""Recipes: every number that decides how a network is trained, except the data and the seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "schedule": ("one_cycle", "paper"),
    "precision": ("float32", "bfloat16"),
    "mirror": ("random", "alternate"),
    "optimizer": ("sgd", "muon"),
}
"""The words that a field may hold."""


@dataclass(frozen=True)
class Recipe:
    """Describes gradient descent with momentum on random crops and mirrored images.

    Why the defaults are what they are is told, with measurements, in docs/decisions/0004-training-recipes.md.

    Args:
        schedule: `one_cycle` (linear warm-up over the share `warmup` of all steps, then cosine to zero) or
            `paper` (He et al. 2016, section 4.2: divided by 10 at 1/2 and 3/4 of all steps).
        crop_padding: pixels of zeros around an image before it is cropped.
        small_until: share of the epochs, from the first, trained on images shrunk to `small_size` pixels; such an
            image costs about half as much.
        precision: `float32`, or `bfloat16` for matrix products and convolutions; parameters stay float32.
        clip: largest norm of the whole gradient; 0 sets no bound.
        mirror: `random` mirrors each image in every second epoch on average, `alternate` in exactly every second one.
        label_smoothing: share of the label's probability that the loss spreads evenly over all classes.
        decay_norms_and_biases: whether weight decay pulls at BatchNorm's parameters and at biases too.
        averaging: decay per step of a moving average of the weights, which is what is kept; 0 keeps the last weights.
        optimizer: `sgd`, or `muon`, which trains the filters of convolutions by Muon and the rest by `sgd`.
        muon_learning_rate: the highest rate of Muon, in place of `learning_rate`.

    Raises:
        ValueError: a field holds a word that it does not know.
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
    mirror: str = "alternate"
    label_smoothing: float = 0.0
    decay_norms_and_biases: bool = True
    averaging: float = 0.999
    optimizer: str = "muon"
    muon_learning_rate: float = 0.1

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after the share `progress` in [0, 1) of all steps."""
        return self._scheduled(self.learning_rate, progress)

    def muon_learning_rate_at(self, progress: float) -> float:
        """Return Muon's learning rate after the share `progress` in [0, 1) of all steps."""
        return self._scheduled(self.muon_learning_rate, progress)

    def _scheduled(self, highest: float, progress: float) -> float:
        if self.schedule == "paper":
            return highest * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
        if progress < self.warmup:
            return highest * max(progress / self.warmup, 0.01)
        return highest * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))

    def averaging_share_at(self, step: int) -> float:
        """Return the share of the new weights in the average after a step, counted from 0.

        The decay begins at 1/10 and is at most (1 + step) / (10 + step), so that the random first weights are soon
        forgotten (as TensorFlow's `ExponentialMovingAverage` does).
        """
        return 1 - min(self.averaging, (1 + step) / (10 + step))

    def image_size_at(self, epoch: int, full_size: int) -> int:
        """Return the side of the square images of an epoch, counted from 0, in pixels."""
        return min(self.small_size, full_size) if epoch < self.small_until * self.epochs else full_size


UNRECORDED: Final[dict[str, Any]] = {
    "mirror": "random",
    "label_smoothing": 0.0,
    "decay_norms_and_biases": True,
    "averaging": 0.0,
    "optimizer": "sgd",
    "muon_learning_rate": 0.05,
}
"""Fields that recipes did not have at first, with what was done then; they are not the defaults, which may change."""


def completed(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Give a recorded recipe the fields that it lacks because they came later."""
    return {**UNRECORDED, **recorded}


SGD = replace(Recipe(), **UNRECORDED)
"""The default without what made it better: what options are compared with, and what earlier results were made with."""

PAPER = replace(
    SGD,
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

CAUTIONARY = replace(SGD, epochs=4, learning_rate=0.02, clip=1.0)
"""Suits networks that cannot learn: few epochs, and a bounded gradient so that the weights stay finite."""
