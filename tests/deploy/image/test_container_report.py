"""Pytest's report on the container tests becomes the tables of docs/reports/containers.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness.page import marks
from tests.container.report import COMMAND, Row, read_rows, table_of, write

pytest_plugins = ["pytester"]

BEGIN, END = marks(COMMAND)
GOOD = Row("test_cpu_image", "size", "150 MB", "≤ 200 MB", True)
BAD = Row("test_cpu_image", "ready", "4 s", "≤ 3 s", False)

TESTS = """
import pytest
from tests.container.conftest import finding

@pytest.fixture
def engine():
    raise OSError("no engine")

def test_size(finding):
    finding("size", found="150 MB", wanted="≤ 200 MB")

def test_ready(finding):
    finding("ready", found="4 s", wanted="≤ 3 s")
    assert 4 <= 3

def test_how_it_ends(engine, finding):
    finding("never", found="", wanted="")

@pytest.mark.skip
def test_on_a_gpu(finding):
    finding("never", found="", wanted="")
"""


def test_each_test_that_was_not_skipped_is_a_row(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_cpu_image=TESTS)
    pytester.runpytest("--junitxml=report.xml", "-o", "junit_family=xunit1")
    good, bad, broken = read_rows(pytester.path / "report.xml")
    assert (good, bad) == (GOOD, BAD)
    assert (broken.tried, broken.passed) == ("how it ends", False)
    assert "no engine" in broken.found


def test_a_row_that_did_not_pass_stands_out() -> None:
    assert table_of([GOOD, BAD]).splitlines()[2:] == [
        "| yes | size | 150 MB | ≤ 200 MB |",
        "| **no** | ready | 4 s | ≤ 3 s |",
    ]


def test_a_report_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "containers.md"
    document.write_text("\n".join(["before", BEGIN, "old", END, "after", ""]), encoding="utf-8")
    for _ in range(2):
        write(document, [GOOD], "a machine")
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("≤ 200 MB") == 1
    assert "Tried on: a machine" in text
