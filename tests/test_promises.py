"""docs/reports/promises.md is complete: each promise has its measurement, its section, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.harness.figures import Figure, at_least, at_most, exactly
from bench.harness.page import marks
from bench.promises.__main__ import COMMAND, MEASURES, figures_table, section_of, summary

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reports" / "promises.md").read_text()


def test_every_promise_has_a_measurement_and_a_section() -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\.", PAGE, re.MULTILINE)] == list(MEASURES)
    for name in (COMMAND, *map(section_of, MEASURES)):
        assert all(PAGE.count(mark) == 1 for mark in marks(name)), name


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", PAGE))))
def test_every_test_that_is_named_exists(named: str) -> None:
    file, _, function = named.partition("::")
    assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_a_promise_that_was_not_kept_stands_out() -> None:
    figures = [at_most("a", 1.0, 2.0, "ms"), at_least("b", 1.0, 2.0), exactly("c", 3, 3), Figure("d", "4")]
    begin, end = marks(section_of(1))
    page = f"## 1. First\n{begin}\n{figures_table(figures)}\n{end}\n## 2. Second\n"
    assert summary(page).splitlines()[2:] == [
        "| 1 | First | 2 of 3 | **no** |",
        "| 2 | Second | 0 of 0 | not measured |",
    ]
