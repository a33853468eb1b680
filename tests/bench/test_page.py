"""Commands fill their own sections of the documents and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import scaling
from bench.gradients import __main__ as gradients
from bench.page import marks, replace_section
from bench.serving import report as serving
from tests.container import report as container

DOCS = Path(__file__).parents[2] / "docs"


def test_a_document_without_a_place_for_it_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no place"):
        replace_section(document, "make soak", "text")
    assert document.read_text(encoding="utf-8") == "nothing"


def test_two_commands_fill_one_page(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "\n".join(["# Page", *marks("make soak"), "between", *marks("make coverage"), ""]), encoding="utf-8"
    )
    for command in ("make coverage", "make soak", "make coverage"):
        replace_section(document, command, f"by {command}")
    assert document.read_text(encoding="utf-8").splitlines() == [
        "# Page",
        "<!-- begin: make soak -->",
        "by make soak",
        "<!-- end: make soak -->",
        "between",
        "<!-- begin: make coverage -->",
        "by make coverage",
        "<!-- end: make coverage -->",
    ]


@pytest.mark.parametrize(
    ("document", "command"),
    [
        (container.PAGE, container.COMMAND),
        (DOCS / "scaling.md", scaling.COMMAND),
        (gradients.PAGE, gradients.COMMAND),
        (DOCS / "performance.md", serving.COMMAND),
    ],
)
def test_the_documents_have_a_place_for_their_figures(document: Path, command: str) -> None:
    begin, end = (document.read_text(encoding="utf-8").index(mark) for mark in marks(command))
    assert begin < end
