"""The site builds without a warning: every link and every anchor of a page is there, and every page has its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.docs.pages import DOCS, ROOT
from tests.docs.site import built_site

MOST_WORDS = 1500
"""The most words of a page that is read and not looked up in."""

UNBOUNDED = ("reference", "reports")


def pages() -> list[str]:
    return sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def pages_of(nav: list[Any]) -> list[str]:
    found: list[str] = []
    for entry in nav:
        if isinstance(entry, str):
            found.append(entry)
        else:
            for below in entry.values():
                found += [below] if isinstance(below, str) else pages_of(below)
    return found


def words(text: str) -> int:
    """Count the words that a reader reads: none of comments, of code, nor of the addresses of links."""
    text = re.sub(r"<!--.*?-->|```.*?```", "", text, flags=re.DOTALL)
    return len(re.sub(r"\]\([^)]*\)", "]", text).split())


def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    site = built_site(tmp_path)
    for page in pages():
        html = (site / page).with_suffix(".html").read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|link|img)[^>]*\s(?:src|href)=[\"']?(https?:[^\"'> ]*)", html) == [], page


def test_every_page_has_its_place_in_the_site() -> None:
    configuration = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    listed = pages_of(configuration["project"]["nav"])
    assert len(listed) == len(set(listed))
    assert sorted(listed) == pages()


def test_no_page_is_too_long_to_be_read() -> None:
    counted = {page: words((DOCS / page).read_text(encoding="utf-8")) for page in pages()}
    assert {
        page: count for page, count in counted.items() if count > MOST_WORDS and page.split("/")[0] not in UNBOUNDED
    } == {}


def test_every_page_opens_with_what_its_reader_gets() -> None:
    for page in pages():
        lines = [line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.strip()]
        assert lines[0].startswith("# "), page
        assert re.match(r"[A-Z*`\[]", lines[1]), f"{page}: a paragraph stands below the title"
