"""Pages that people write and commands fill: a command replaces its own section and nothing else.

A section stands between `<!-- begin: COMMAND -->` and `<!-- end: COMMAND -->`, each on a line of its own.
"""

from __future__ import annotations

from pathlib import Path


def marks(command: str) -> tuple[str, str]:
    """The lines around the section that `command` writes."""
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
