"""The table of what findings mean: complete, in plain words, and with figures that are still true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from service.diagnostics.schemas.verdict import State
from service.diagnostics.verdicts.explanations import SECTIONS, Explanation, anchor
from service.diagnostics.verdicts.glossary import GLOSSARY

ROOT = Path(__file__).parents[3]
RULES = [(name, rule, one) for name, section in SECTIONS.items() for rule, one in section.rules.items()]


def test_every_state_has_its_section() -> None:
    assert {anchor(state) for state in get_args(State)} <= set(SECTIONS)


@pytest.mark.parametrize(("name", "rule", "one"), RULES, ids=[f"{name}, {rule}" for name, rule, _ in RULES])
def test_texts_are_sentences_without_bare_symbols(name: str, rule: str, one: Explanation) -> None:
    for text in (one.meaning, *one.advice):
        assert re.fullmatch(r"[A-Z].*[.]", text), text
        assert not re.search(r"‖|∂|decades", text), text
    assert one.advice or rule in ("smooth", "like")


def test_the_errors_that_healthy_quotes_are_those_of_the_shipped_bundles() -> None:
    meaning = SECTIONS["healthy"].rules["no finding"].meaning
    for name, share in re.findall(r"(\w+20\S*?)(?: has)? (\d+) %", meaning):
        bundle = json.loads((ROOT / "models" / "bundles" / name / "bundle.json").read_text())
        assert f"{bundle['training']['final']['test_error']:.0%}" == f"{share}%", name
    assert len(re.findall(r"\d+ %", meaning)) == len(re.findall(r"resnet20 has|plain20-relu \d", meaning))


def test_the_pace_that_vanishing_quotes_is_the_measured_one() -> None:
    page = (ROOT / "docs" / "reports" / "phenomena.md").read_text()
    measured = re.search(r"sigmoid chain of 40 layers changes.*?\*\*-([\d.]+)\*\*", page)
    assert measured is not None
    assert f"tenfold every {1 / float(measured[1]):.1f} layers" in SECTIONS["vanishing"].measured


def test_glossary_terms_are_explained_in_sentences() -> None:
    for term, meaning in GLOSSARY.items():
        assert re.fullmatch(r"[A-Z].*[.]", meaning), term
