"""`docs/training.md` tells the recipes as they are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from models.training.recipe import CAUTIONARY, PAPER, Recipe

PAGE = (Path(__file__).parents[3] / "docs/training.md").read_text()
OPTIONS = [field.name for field in fields(Recipe)]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_its_row(name: str) -> None:
    option, default, paper = f"--{name.replace('_', '-')}", getattr(Recipe(), name), getattr(PAPER, name)
    assert re.search(rf"^\| `{option}` \| {default} \| {paper} \| [^|]+ \|$", PAGE, flags=re.MULTILINE)


def test_the_cautionary_recipe_and_the_papers_iterations_are_the_ones_told() -> None:
    assert f"a rate of {CAUTIONARY.learning_rate}" in PAGE
    assert CAUTIONARY.clip == 1
    assert f"{PAPER.epochs * (50_000 // PAPER.batch_size):,} iterations of 64,000" in PAGE
