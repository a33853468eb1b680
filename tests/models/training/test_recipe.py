"""Learning rates and image sizes over a run."""

from __future__ import annotations

import pytest

from models.training.recipe import PAPER, Recipe


def test_one_cycle_warms_up_linearly_and_ends_near_zero() -> None:
    recipe = Recipe(learning_rate=0.4, warmup=0.2)
    assert recipe.learning_rate_at(0.0) == pytest.approx(0.004)
    assert recipe.learning_rate_at(0.1) == pytest.approx(0.2)
    assert recipe.learning_rate_at(0.2) == pytest.approx(0.4)
    assert recipe.learning_rate_at(0.6) == pytest.approx(0.2)
    assert recipe.learning_rate_at(0.9999) < 1e-6


def test_the_paper_divides_by_ten_at_half_and_at_three_quarters() -> None:
    rates = [PAPER.learning_rate_at(progress) for progress in (0, 0.499, 0.5, 0.749, 0.75, 0.999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_papers_recipe_is_64_thousand_iterations_of_128_images() -> None:
    assert PAPER.epochs * (50_000 // PAPER.batch_size) == pytest.approx(64_000, rel=0.01)
    assert (PAPER.momentum, PAPER.nesterov, PAPER.weight_decay) == (0.9, False, 1e-4)


def test_small_images_come_first_and_never_enlarge() -> None:
    recipe = Recipe(epochs=10, small_size=24, small_until=0.4)
    assert [recipe.image_size_at(epoch, 32) for epoch in range(10)] == [24] * 4 + [32] * 6
    assert recipe.image_size_at(0, 16) == 16
    assert PAPER.image_size_at(0, 32) == 32
