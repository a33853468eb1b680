"""All that is chosen for an epoch before it begins: the order of the images, how each is seen, and the learning rates.

Every random choice is a function of (seed, epoch, step), and is drawn on the CPU. So a resumed run takes the same steps
as one that was never interrupted, and a GPU trains on the same images in the same order as a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.training.augmentation import Views, draw_views
from models.training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch; every tensor has one row per step, and those of images one column per image.

    `order` holds the images' numbers, int64. `rates`, `muon_rates` and `averaging` are float32: the learning rate of
    stochastic gradient descent, that of Muon, and the share of the new weights in the average of all so far.
    """

    order: Tensor
    views: Views
    rates: Tensor
    muon_rates: Tensor
    averaging: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """List the tensors, in one order for all plans."""
        views = (self.views.top, self.views.left, self.views.mirrored)
        return (self.order, *views, self.rates, self.muon_rates, self.averaging)

    def to(self, device: torch.device) -> Plan:
        """Return the plan on a device, in memory of its own."""
        order, top, left, mirrored, *numbers = (value.to(device, copy=True) for value in self.tensors())
        return Plan(order, Views(top, left, mirrored), *numbers)

    def replace_by(self, other: Plan) -> None:
        """Copy the numbers of a plan of the same shapes into this one's memory."""
        for mine, its in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(its)

    def rows(self, step: Tensor) -> tuple[Tensor, Views]:
        """Return the images of a step, int64 [1], and how they are seen; the step is not read by the host."""
        order, top, left, mirrored = (value.index_select(0, step).squeeze(0) for value in self.tensors()[:4])
        return order, Views(top, left, mirrored)


def plan_epoch(recipe: Recipe, seed: int, epoch: int, images: int) -> Plan:
    """Draw an epoch, counted from 0, for a data set of so many images."""
    batch, steps = min(recipe.batch_size, images), steps_per_epoch(recipe, images)
    order = torch.randperm(images, generator=generator(seed, epoch, 0))[: steps * batch].view(steps, batch)
    drawn = [draw_views(batch, recipe.crop_padding, generator(seed, epoch, step + 1)) for step in range(steps)]
    mirrored = torch.stack([views.mirrored for views in drawn])
    if recipe.mirror == "alternate":
        mirrored = mirrored_first(seed, images)[order] ^ bool(epoch % 2)
    first, whole = epoch * steps, recipe.epochs * steps
    return Plan(
        order,
        Views(torch.stack([views.top for views in drawn]), torch.stack([views.left for views in drawn]), mirrored),
        torch.tensor([recipe.learning_rate_at((first + step) / whole) for step in range(steps)]),
        torch.tensor([recipe.muon_learning_rate_at((first + step) / whole) for step in range(steps)]),
        torch.tensor([recipe.averaging_share_at(first + step) for step in range(steps)]),
    )


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Count the whole batches; a data set smaller than a batch is one."""
    return images // recipe.batch_size or 1


def mirrored_first(seed: int, images: int) -> Tensor:
    """Choose the images that the epochs 0, 2, 4, … mirror, bool [n]; the other epochs mirror the others.

    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024, arXiv 2404.00498), section 3.6.
    """
    return torch.rand(images, generator=generator(seed, 0, 0, 1)) < 0.5


def generator(*key: int) -> torch.Generator:
    """Return a generator on the CPU that is a function of `key`; zeros at its end change nothing."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(seed)
