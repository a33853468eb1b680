"""Pages that people write and commands fill: a command replaces its own section and nothing else.

A section stands between `<!-- begin: COMMAND -->` and `<!-- end: COMMAND -->`, each on a line of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.harness.machine import day_and_machine
from bench.harness.paths import DOCS, ROOT

NAMED_PAGE: Final = re.compile(r"\bdocs/((?:guide|reference|reports|decisions)/[\w-]+\.md)((?:#[\w-]+)?)")


def parser_of(command: str, description: str | None, page: Path) -> argparse.ArgumentParser:
    """Return a command's parser with `--page` and `--print`, which say what becomes of its section."""
    parser = argparse.ArgumentParser(prog=command, description=description)
    written = f"page that is written (default: {page.relative_to(ROOT)})"
    parser.add_argument("--page", type=Path, default=page, help=written)
    parser.add_argument("--print", action="store_true", help="leave the page alone")
    return parser


def made_by(command: str) -> str:
    """Return the day, the machine, and which command with which arguments this process runs."""
    return f"{day_and_machine()} by `{' '.join([command, *sys.argv[1:]])}`"


def publish(options: argparse.Namespace, command: str, text: str) -> None:
    """Print the section that `command` writes, and put it into its page unless `--print` forbids it."""
    print(text, flush=True)
    if not options.print:
        replace_section(options.page, command, text)


def marks(command: str) -> tuple[str, str]:
    """Return the lines around the section that `command` writes."""
    return f"<!-- begin: {command} -->", f"<!-- end: {command} -->"


def replace_section(document: Path, command: str, text: str) -> None:
    """Put `text` (Markdown) where the last run of `command` put its own.

    Raises:
        ValueError: the marks are not there, in order; the document is left alone.
    """
    begin, end = marks(command)
    before, found_begin, rest = document.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{document.name} has no place for the report: {begin} … {end}")
    document.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def linked(text: str, page: Path) -> str:
    """Return `text` with the pages that it names, such as `docs/reports/gpu.md`, as links from `page`."""

    def link(named: re.Match[str]) -> str:
        return f"[{named[1]}{named[2]}]({os.path.relpath(DOCS / named[1], page.parent)}{named[2]})"

    return NAMED_PAGE.sub(link, text)


def table(header: str, rows: Iterable[str]) -> str:
    """Return a Markdown table; the cells of its header and rows are separated by ` | `."""
    columns = "|".join(["---"] * len(header.split("|")))
    return "\n".join([f"| {header} |", f"|{columns}|", *(f"| {row} |".replace("  |", " |") for row in rows)])
