"""A section of docs/reports/phenomena.md: a figure, its explanation, and statements with the bounds that test them.

`export.phenomena` writes its sections with it too. Neither torch nor a network is needed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

PAGE = Path("reports") / "phenomena.md"
"""The page, in the folder of the documentation; the figures are in `figures/` there."""

FIRST_HEAD = "# Phenomena of deep networks\n\nMeasured by `make phenomena`.\n"
"""The first lines of a new page. A page that is there keeps its own, which are written by hand."""


@dataclass(frozen=True)
class Statement:
    """A sentence about one measured number, and the bound that makes it true or false."""

    name: str
    sentence: str
    value: float
    relation: Literal["≥", "≤"]
    bound: float

    @property
    def holds(self) -> bool:
        """Tell whether the value keeps the bound; nan never does."""
        return self.value >= self.bound if self.relation == "≥" else self.value <= self.bound

    def markdown(self) -> str:
        """Return the statement as a list item, which begins with a warning where it does not hold."""
        mark = "" if self.holds else "**Does not hold here:** "
        return f"- {mark}{self.sentence}: **{number(self.value)}** (asserted {self.relation} {number(self.bound)})"


@dataclass(frozen=True)
class Section:
    """One phenomenon on the page; `paragraphs` stand before the statements and `notes` after them, as Markdown.

    `command` makes the section again, and `served` is the request that shows the phenomenon in the service.
    """

    position: int
    key: str
    title: str
    figure: Figure
    paragraphs: tuple[str, ...]
    statements: tuple[Statement, ...]
    command: str
    served: str
    table: str = ""
    notes: tuple[str, ...] = field(default=())

    def markdown(self, figures: str) -> str:
        """Return the section's text; `figures` is the way from the page to the folder of its figure."""
        parts = [
            f"## {self.position}. {self.title}",
            f"![{self.title}]({figures}/{self.key}.svg)",
            *self.paragraphs,
            self.table,
            "\n".join(statement.markdown() for statement in self.statements),
            *self.notes,
            f"Again: `{self.command}`. In the service: {self.served}",
        ]
        return "\n\n".join(part for part in parts if part)


def number(value: float) -> str:
    """Write a number with three digits, in powers of ten where it is long: 0.0123, 4.78e+12, nan."""
    return f"{value:.3g}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_section(section: Section, docs: Path) -> None:
    """Save the figure, and put the section at its place on `PAGE`; the head and the other sections stay as they are."""
    figures = docs / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    section.figure.savefig(figures / f"{section.key}.svg", metadata={"Date": None, "Title": section.title})
    page = docs / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8") if page.exists() else FIRST_HEAD
    head = text.partition("<!-- begin ")[0].rstrip()
    sections = _sections(text)
    sections[section.key] = (section.position, section.markdown("../figures"))
    ordered = sorted(sections.items(), key=lambda item: item[1][0])
    body = "\n".join(f"<!-- begin {key} {at} -->\n{text}\n<!-- end {key} -->\n" for key, (at, text) in ordered)
    page.write_text(f"{head}\n\n{body}", encoding="utf-8")


def _sections(page: str) -> dict[str, tuple[int, str]]:
    found = re.finditer(r"<!-- begin (\S+) (\d+) -->\n(.*?)\n<!-- end \1 -->", page, re.DOTALL)
    return {match[1]: (int(match[2]), match[3]) for match in found}
