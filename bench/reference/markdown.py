"""Text that is safe in a cell of a Markdown table, and links between the pages of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from inspect import cleandoc
from textwrap import indent
from typing import Final

from bench.harness import page
from bench.harness.page import table
from bench.harness.paths import DOCS

CODE: Final = re.compile(r"(`[^`]*`)")
ROOM: Final = DOCS / "reference" / "any page"


def cell(text: str) -> str:
    """Return `text` on one line, with what would end a cell or begin a tag escaped, and pages as links."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(_code(part) if number % 2 else _plain(part) for number, part in enumerate(parts))


def linked(text: str) -> str:
    """Return `text` with every page of the documentation that it names as a link from a page of the reference."""
    return page.linked(text, ROOM)


def code(text: object) -> str:
    """Return `text` as code."""
    return f"`{text}`"


def listed(words: Sequence[str], last: str = "or") -> str:
    """Return words as a list: "a, b or c"."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def sentence(text: str) -> str:
    """Return `text` with a capital letter and a full stop."""
    text = " ".join(text.split())
    return (text[:1].upper() + text[1:]).rstrip(".") + "." if text else ""


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring as Markdown; one that is indented keeps its lines."""
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.startswith("    "):
            yield indent(cleandoc(f"\n{part}"), "    ")
        elif part.strip():
            yield linked(" ".join(part.split())).replace("<", "&lt;")


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown already (`cell` makes it of text)."""
    return table(" | ".join(header), (" | ".join(row) for row in rows))


def _code(text: str) -> str:
    """Return a span of code. Readers of Markdown differ on a `|` in one within a table, but not on a tag."""
    return f"<code>{escape(text[1:-1]).replace('|', '&#124;')}</code>" if "|" in text else text


def _plain(text: str) -> str:
    return linked(text.replace("|", r"\|").replace("<", "&lt;"))
