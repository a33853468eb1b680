"""`docs/guide/train-a-network.md` and decision 0004 tell the recipes as they are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from models.training.recipe import CAUTIONARY, PAPER, Recipe

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/guide/train-a-network.md").read_text(encoding="utf-8")
DECISION = (ROOT / "docs/decisions/0004-training-recipes.md").read_text(encoding="utf-8")
OPTIONS = [field.name for field in fields(Recipe)]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_its_row(name: str) -> None:
    option, default, paper = f"--{name.replace('_', '-')}", getattr(Recipe(), name), getattr(PAPER, name)
    assert re.search(rf"^\| `{option}` \| {default} \| {paper} \| [^|]+ \|$", PAGE, flags=re.MULTILINE)


def test_the_cautionary_recipe_and_the_papers_iterations_are_the_ones_told() -> None:
    for text in (PAGE, DECISION):
        assert f"a rate of {CAUTIONARY.learning_rate}" in " ".join(text.split())
    assert CAUTIONARY.clip == 1
    assert f"{PAPER.epochs * (50_000 // PAPER.batch_size):,} iterations of 64,000" in DECISION


def test_the_command_for_the_shipped_networks_is_that_of_make_train() -> None:
    (told,) = re.findall(r"^python (-m models train --model .*) --data DATA (--epochs \d+)$", PAGE, flags=re.MULTILINE)
    assert f"{told[0]} --data $(DATA) {told[1]}" in (ROOT / "Makefile").read_text()
