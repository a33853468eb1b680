"""Crops and mirroring: what may be drawn, and how often each image is mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.training.augmentation import draw_views, see
from models.training.data import channel_statistics
from models.training.plan import plan_epoch
from models.training.recipe import Recipe


def test_augmentation_only_shifts_and_mirrors() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 4, 4, 1).expand(64, 4, 4, 3).contiguous()
    padded = torch.nn.functional.pad(image[0, ..., 0], (1, 1, 1, 1))
    crops = [padded[top : top + 4, left : left + 4] for top in range(3) for left in range(3)]
    allowed = {tuple(view.flatten().tolist()) for crop in crops for view in (crop, crop.flip(1))}
    views = draw_views(64, 1, torch.Generator().manual_seed(0))
    seen = {tuple(one[..., 0].flatten().tolist()) for one in see(image, 1, views)}
    assert seen <= allowed
    assert len(seen) > 9, "both mirrored and not"


def mirrored(recipe: Recipe, epoch: int, images: int = 40, seed: int = 0) -> torch.Tensor:
    """Return for each image whether the epoch mirrors it."""
    plan = plan_epoch(recipe, seed, epoch, images)
    found = torch.zeros(images, dtype=torch.bool)
    found[plan.order.flatten()] = plan.views.mirrored.flatten()
    return found


def test_alternate_mirroring_shows_each_image_both_ways_in_any_two_epochs() -> None:
    recipe = Recipe(batch_size=8, mirror="alternate")
    first, second, third, fourth = (mirrored(recipe, epoch) for epoch in range(4))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert torch.equal(second, fourth)
    assert 5 < int(first.sum()) < 35, "about half of the images are mirrored first"
    assert not torch.equal(first, mirrored(recipe, 0, seed=1))


def test_random_mirroring_shows_some_images_one_way_twice() -> None:
    first, second = (mirrored(Recipe(batch_size=8, mirror="random"), epoch) for epoch in range(2))
    assert 0 < int((first == second).sum()) < 40


def test_a_plan_visits_every_image_once_except_the_incomplete_batch() -> None:
    order = plan_epoch(Recipe(batch_size=8), 0, 0, 45).order
    assert order.shape == (5, 8)
    assert len(set(order.flatten().tolist())) == 40
    assert plan_epoch(Recipe(batch_size=8), 0, 0, 5).order.shape == (1, 5)


def test_channel_statistics_are_those_of_the_pixels_in_zero_to_one() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 1, 2)), abs=1e-4)
    assert std == pytest.approx((images / 255).std(axis=(0, 1, 2)), abs=1e-4)
