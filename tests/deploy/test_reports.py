"""How trials become the generated parts of the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import scaling
from deploy.check import report
from deploy.check.trial import Trial, table

DOCS = Path(__file__).parents[2] / "docs"
GOOD, BAD = Trial("size", "150 MB", "≤ 200 MB", True), Trial("ready", "4 s", "≤ 3 s", False)


def test_a_failed_trial_stands_out() -> None:
    assert table([GOOD, BAD]).splitlines()[2:] == [
        "| yes | size | 150 MB | ≤ 200 MB |",
        "| **no** | ready | 4 s | ≤ 3 s |",
    ]


def test_a_report_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "deployment.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        report.write(document, {"Image": [GOOD]}, "a machine")
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("≤ 200 MB") == 1
    assert "Tried on: a machine" in text


def test_a_document_without_a_place_for_it_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "deployment.md"
    document.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"deployment\.md has no place"):
        report.write(document, {}, "a machine")
    assert document.read_text(encoding="utf-8") == "nothing"


@pytest.mark.parametrize(
    ("name", "marks"),
    [("deployment.md", (report.BEGIN, report.END)), ("scaling.md", (scaling.BEGIN, scaling.END))],
)
def test_the_documents_have_a_place_for_their_figures(name: str, marks: tuple[str, str]) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    begin, end = (text.index(mark) for mark in marks)
    assert begin < end
