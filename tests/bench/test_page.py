"""Commands fill their own sections of the pages and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import explanation, guide, unlike, verdict_depth, verdict_points
from bench.gradients import __main__ as gradients
from bench.harness.page import linked, made_by, marks, replace_section, table
from bench.harness.paths import DOCS
from bench.scaling import __main__ as scaling
from bench.scores import __main__ as scores
from bench.serving import report as serving
from bench.verdicts import __main__ as verdicts
from service.diagnostics.verdicts.explanations import SECTIONS
from tests.container import report as container
from tests.soak import report as soak

PAGES = {
    container.COMMAND: "reports/containers.md",
    explanation.COMMAND: "reports/gradients.md",
    gradients.COMMAND: "reports/gradients.md",
    guide.COMMAND: "reference/verdicts.md",
    scaling.COMMAND: "reports/scaling.md",
    scores.COMMAND: "reports/scores.md",
    serving.COMMAND: "reports/serving.md",
    soak.COMMAND: "reports/reliability.md",
    unlike.COMMAND: "reports/live-images.md",
    verdict_depth.COMMAND: "reports/verdicts.md",
    verdict_points.COMMAND: "reports/verdicts.md",
    verdicts.COMMAND: "reports/verdicts.md",
}


def test_a_page_without_a_place_for_a_section_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no place"):
        replace_section(page, "make soak", "text")
    assert page.read_text(encoding="utf-8") == "nothing"


def test_a_section_says_when_where_and_by_what_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench/width", "--only", "resnet20"])
    said = made_by("python -m bench.width")
    assert re.fullmatch(r"Measured \d{4}-\d\d-\d\d on \d+ cores of .+ by `python -m bench.width --only resnet20`", said)


def test_two_commands_fill_one_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "\n".join(["# Page", *marks("make soak"), "between", *marks("make coverage"), ""]), encoding="utf-8"
    )
    for command in ("make coverage", "make soak", "make coverage"):
        replace_section(page, command, f"by {command}")
    assert page.read_text(encoding="utf-8").splitlines() == [
        "# Page",
        "<!-- begin: make soak -->",
        "by make soak",
        "<!-- end: make soak -->",
        "between",
        "<!-- begin: make coverage -->",
        "by make coverage",
        "<!-- end: make coverage -->",
    ]


@pytest.mark.parametrize(("command", "page"), PAGES.items())
def test_every_page_has_a_place_for_its_figures(command: str, page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    begin, end = (text.index(mark) for mark in marks(command))
    assert begin < end


def test_the_guide_to_the_verdicts_is_the_one_of_the_service() -> None:
    section = section_of(guide.PAGE)
    assert section == guide.guide(), f"it is stale: run `{guide.COMMAND}`"
    headings = {line.removeprefix("### ").lower().replace(" ", "-") for line in section.splitlines() if "### " in line}
    assert headings >= set(SECTIONS)


def test_the_terms_of_the_glossary_are_those_of_the_service() -> None:
    assert section_of(guide.GLOSSARY_PAGE) == guide.terms(), f"it is stale: run `{guide.COMMAND}`"


def test_the_rates_that_the_guide_quotes_are_those_of_the_report() -> None:
    page = (DOCS / "guide" / "understand-a-verdict.md").read_text(encoding="utf-8")
    quoted = re.findall(r"\d+ of \d+", page.partition("## How often verdicts are wrong")[2].partition("## ")[0])
    report = (DOCS / "reports" / "verdicts.md").read_text(encoding="utf-8")
    held_out = re.search(r"### At the gate.*?### Each kind, fit", report, re.DOTALL)
    assert held_out is not None
    assert len(quoted) == 4
    assert [rate for rate in quoted if not re.search(rf"\b{rate}\b", held_out[0])] == []


def test_pages_that_the_service_names_become_links() -> None:
    text = "Measured: docs/reports/phenomena.md, section 2, and docs/reference/verdicts.md#dead."
    assert linked(text, guide.PAGE) == (
        "Measured: [reports/phenomena.md](../reports/phenomena.md), section 2, "
        "and [reference/verdicts.md#dead](verdicts.md#dead)."
    )


def section_of(page: Path) -> str:
    begin, end = marks(guide.COMMAND)
    return page.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].strip()


def test_a_table_has_a_cell_for_every_column_even_if_it_is_empty() -> None:
    assert table("what | figure", ["a | 1", "b | "]).splitlines() == [
        "| what | figure |",
        "|---|---|",
        "| a | 1 |",
        "| b | |",
    ]
