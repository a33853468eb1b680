"""Commands fill their own sections of the pages and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import guide, unlike, verdict_depth, verdict_points
from bench.gradients import __main__ as gradients
from bench.harness.page import marks, replace_section, table
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
    gradients.COMMAND: "performance.md",
    guide.COMMAND: "verdicts.md",
    scaling.COMMAND: "reports/scaling.md",
    scores.COMMAND: "scores.md",
    serving.COMMAND: "performance.md",
    soak.COMMAND: "reports/reliability.md",
    unlike.COMMAND: "reports/live-images.md",
    verdict_depth.COMMAND: "verdicts.md",
    verdict_points.COMMAND: "verdicts.md",
    verdicts.COMMAND: "verdicts.md",
}


def test_a_page_without_a_place_for_a_section_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no place"):
        replace_section(page, "make soak", "text")
    assert page.read_text(encoding="utf-8") == "nothing"


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
    begin, end = marks(guide.COMMAND)
    section = guide.PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    assert section.strip() == guide.guide(), f"it is stale: run `{guide.COMMAND}`"
    headings = {line.removeprefix("### ").lower().replace(" ", "-") for line in section.splitlines() if "### " in line}
    assert headings >= set(SECTIONS)


def test_a_table_has_a_cell_for_every_column_even_if_it_is_empty() -> None:
    assert table("what | figure", ["a | 1", "b | "]).splitlines() == [
        "| what | figure |",
        "|---|---|",
        "| a | 1 |",
        "| b | |",
    ]
