"""Learning rates and image sizes over a run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from models.training.recipe import CAUTIONARY, PAPER, SGD, UNRECORDED, Recipe, completed

BUNDLES = Path(__file__).parents[3] / "models/bundles"


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


def test_a_recorded_recipe_gets_what_was_done_before_a_field_existed_and_keeps_its_own() -> None:
    recorded = asdict(SGD)
    old = {name: value for name, value in recorded.items() if name not in UNRECORDED}
    assert completed(old) == recorded != asdict(Recipe())
    assert completed(asdict(Recipe())) == asdict(Recipe())


@pytest.mark.parametrize("recipe", [PAPER, CAUTIONARY, SGD], ids=["paper", "cautionary", "sgd"])
def test_the_presets_are_what_they_were_before_the_default_had_muon(recipe: Recipe) -> None:
    assert (recipe.optimizer, recipe.mirror, recipe.averaging, recipe.label_smoothing) == ("sgd", "random", 0, 0)


@pytest.mark.parametrize("bundle", ["plain20", "resnet20", "plain56", "resnet56"])
def test_the_nets_that_are_compared_by_depth_had_the_default_recipe_and_64_epochs(bundle: str) -> None:
    training = json.loads((BUNDLES / bundle / "bundle.json").read_text())["training"]
    assert completed(training["recipe"]) == asdict(Recipe(epochs=64))
    assert len(training["epochs"]) == 64


@pytest.mark.parametrize(
    ("bundle", "changes"),
    [
        ("plain20-relu", {"epochs": 8, "learning_rate": 0.05}),
        ("plain20-sigmoid", {"epochs": 2}),
        ("plain56-relu-exploding", {"epochs": 2}),
    ],
)
def test_the_cautionary_recipe_is_still_that_of_the_shipped_networks(bundle: str, changes: dict[str, Any]) -> None:
    """The changes are those of `make train`."""
    recorded = json.loads((BUNDLES / bundle / "bundle.json").read_text())["training"]["recipe"]
    assert completed(recorded) == asdict(replace(CAUTIONARY, **changes))
