"""Writes the sections of docs/reference that are made from the code.

It measures nothing. A test compares the pages with what this command would write.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness.page import replace_section
from bench.harness.paths import DOCS
from bench.reference import bundle_format, command_line, endpoints, metrics, python, settings

COMMAND: Final = "python -m bench.reference"


class Section(NamedTuple):
    """One section: the page below docs/reference on which it stands, and what makes its text."""

    page: str
    text: Callable[[], str]


SECTIONS: Final = {
    "endpoints": Section("endpoints.md", endpoints.endpoints),
    "headers": Section("endpoints.md", endpoints.headers),
    "statuses": Section("endpoints.md", endpoints.statuses),
    "settings": Section("settings.md", settings.settings),
    "verbs": Section("command-line.md", command_line.summary),
    "commands": Section("command-line.md", command_line.commands),
    "commands-from-a-clone": Section("command-line.md", command_line.from_a_clone),
    "metrics": Section("metrics.md", metrics.metrics),
    "labels": Section("metrics.md", metrics.labels),
    "buckets": Section("metrics.md", metrics.buckets),
    "bundle": Section("bundle-format.md", bundle_format.fields_of_bundle),
    "graphs": Section("bundle-format.md", bundle_format.graphs),
    "outputs": Section("bundle-format.md", bundle_format.outputs),
    "python": Section("python.md", python.names),
}
"""Name of a section → what it is."""


def command_of(name: str) -> str:
    """Return the command that writes one section; it stands in the marks around it."""
    return f"{COMMAND} --only {name}"


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help="of "
                        + ", ".join(SECTIONS))  # fmt: skip
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages (default: docs)")
    parser.add_argument("--print", action="store_true", help="print the sections, and leave the pages alone")
    options = parser.parse_args()
    for name in options.only:
        page, text = SECTIONS[name]
        if options.print:
            print(text(), end="\n\n", flush=True)
        else:
            replace_section(options.docs / "reference" / page, command_of(name), text())


if __name__ == "__main__":
    main()
