"""Every known limit links the page that has its figure, and says what to do instead."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS

PAGE = DOCS / "reports" / "known-limits.md"
HEADER = ["limit", "figure", "what to do instead"]
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
]
LIMITS = [row for row in ROWS if row != HEADER]


def test_every_table_says_limit_figure_and_remedy() -> None:
    assert ROWS.count(HEADER) == len(re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("row", LIMITS, ids=[row[0] for row in LIMITS])
def test_every_limit_links_the_page_of_its_figure(row: list[str]) -> None:
    limit, figure, remedy = row
    assert limit.endswith(".")
    assert remedy.endswith(".")
    links = re.findall(r"\]\(([^)#]+)", figure)
    assert links, "its figure has a page"
    assert all((PAGE.parent / link).resolve().is_file() for link in links)
