"""The table of what findings mean: complete, in plain words, and with figures that are still true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from service.diagnostics.schemas.verdict import State
from service.diagnostics.verdicts.explanations import (
    GUIDE_PAGE,
    SECTIONS,
    Explanation,
    anchor,
    explained,
    in_repository,
)
from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.documentation.guide import thresholds
from service.http.documentation.guide_page import inline

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


def test_every_page_that_a_text_names_is_there() -> None:
    texts = [one.measured for one in SECTIONS.values()]
    texts += [text for _, _, one in RULES for text in (one.meaning, *one.advice)]
    texts += [GUIDE_PAGE, *(one.source for one in thresholds())]
    named = [page for text in texts for page in re.findall(r"docs/[\w/.-]*\w", text)]
    assert len(named) > len(SECTIONS)
    assert [page for page in named if not (ROOT / page).is_file()] == []


def test_a_link_leads_to_a_section_of_the_page_in_the_repository() -> None:
    assert in_repository(explained("not finite", "forward", "")["link"]) == "docs/reference/verdicts.md#not-finite"


def test_a_page_that_a_text_names_is_a_link_to_the_served_guide() -> None:
    assert inline("Measured: docs/reports/gpu.md.") == (
        'Measured: <a href="../guide/reports/gpu.html">docs/reports/gpu.md</a>.'
    )


def test_glossary_terms_are_explained_in_sentences() -> None:
    for term, meaning in GLOSSARY.items():
        assert re.fullmatch(r"[A-Z].*[.]", meaning), term
