"""How trials become the generated parts of the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness.page import marks
from deploy.check import report
from deploy.check.trial import Trial, table

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = marks(report.COMMAND)
GOOD, BAD = Trial("size", "150 MB", "≤ 200 MB", True), Trial("ready", "4 s", "≤ 3 s", False)


def test_a_failed_trial_stands_out() -> None:
    assert table([GOOD, BAD]).splitlines()[2:] == [
        "| yes | size | 150 MB | ≤ 200 MB |",
        "| **no** | ready | 4 s | ≤ 3 s |",
    ]


def test_a_report_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "deployment.md"
    document.write_text("\n".join(["before", BEGIN, "old", END, "after", ""]), encoding="utf-8")
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


def test_the_document_has_a_place_for_its_figures() -> None:
    begin, end = ((DOCS / "deployment.md").read_text(encoding="utf-8").index(mark) for mark in marks(report.COMMAND))
    assert begin < end
