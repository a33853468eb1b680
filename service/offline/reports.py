"""The files that a check writes: which format each has, by `--format` or by its name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from service.output.whole_files import replaced_file

T = TypeVar("T")

TEXT: Final = "text"
BY_SUFFIX: Final = {
    ".txt": TEXT, ".json": "json", ".xml": "junit", ".sarif": "sarif", ".md": "markdown", ".html": "html"
}  # fmt: skip
"""Ending of a file's name → the format that it has unless `--format` says otherwise."""


def add_reports(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    parser.add_argument(
        "--format",
        choices=formats,
        help="sarif for GitHub, junit for GitLab and Jenkins, markdown for a pull request, html for people (with "
        "--against); sarif only without --against (default: text, and of a file what its name ends in)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write the format to a file, and print the text; may be repeated: .json .xml .md .html .sarif .txt",
    )


def reports_of(
    options: argparse.Namespace, formats: Mapping[str, Callable[[T], str]], what: str
) -> list[tuple[Path, Callable[[T], str]]]:
    """Return the files to write, and what writes each.

    Args:
        formats: those that there are of what is found, by name.
        what: what is found, in words.

    Raises:
        ValueError: a folder is not there, or there is no such format of what is found.
    """
    _check_format(options.format or TEXT, formats, what)
    found = []
    for path in options.report:
        if not path.parent.is_dir():
            raise ValueError(f"--report {path}: there is no folder {path.parent}")
        name = options.format or BY_SUFFIX.get(path.suffix, TEXT)
        _check_format(name, formats, what)
        found.append((path, formats[name]))
    return found


def write(reports: Sequence[tuple[Path, Callable[[T], str]]], found: T) -> None:
    """Write every file; raise OSError where one cannot be written."""
    for path, in_format in reports:
        with replaced_file(path) as stream:
            stream.write(in_format(found).encode())


def _check_format(name: str, formats: Mapping[str, object], what: str) -> None:
    if name not in formats:
        raise ValueError(f"there is no {name} of {what}; there are {', '.join(formats)}")
