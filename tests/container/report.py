"""Writes the findings of the container tests into docs/reports/containers.md: `make container-report`.

    python -m tests.container.report build/container.xml

Reads pytest's XML report. A test that recorded a finding is a row, which passed if the test did; one that broke
before it found anything is a row with its error. CONTAINER_NOTE is a sentence on the machine for the page.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from bench.harness.machine import machine as processor
from bench.harness.page import replace_section, table
from tests.container.engine import ROOT, Engine

COMMAND = "make container-report"
PAGE = ROOT / "docs" / "reports" / "containers.md"

SECTIONS = {
    "test_cpu_image": "The image, tried",
    "test_limits": "The image, tried",
    "test_kubernetes": "The image, tried",
    "test_compose": "The image, tried",
    "test_gpu_image": "The gpu image",
    "test_supply_chain": "Supply chain",
}
"""The section that each test file fills, in the order of the page."""


@dataclass(frozen=True)
class Row:
    file: str
    tried: str
    found: str
    wanted: str
    passed: bool


def read_rows(report: Path) -> list[Row]:
    """Return one row for each test that was not skipped, in the order of the page."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    rows = [_row(case) for case in cases if case.find("skipped") is None]
    return sorted(rows, key=lambda row: list(SECTIONS).index(row.file))


def _row(case: ElementTree.Element) -> Row:
    recorded = {entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")}
    broken = next((case.find(kind) for kind in ("error", "failure") if case.find(kind) is not None), None)
    message = " ".join(broken.get("message", "").split())[:300] if broken is not None else ""
    return Row(
        case.attrib["classname"].rsplit(".", 1)[-1],
        recorded.get("tried", case.attrib["name"].removeprefix("test_").replace("_", " ")),
        recorded.get("found", f"broke off: {message}"),
        recorded.get("wanted", "a result"),
        broken is None,
    )


def table_of(rows: Iterable[Row]) -> str:
    """Return a Markdown table in which whatever did not pass stands out."""
    cells = [f"{'yes' if row.passed else '**no**'} | {row.tried} | {row.found} | {row.wanted}" for row in rows]
    return table("passed | tried | found | wanted", cells)


def write(document: Path, rows: Sequence[Row], machine: str) -> None:
    """Replace the section of `document` that the last `make container-report` wrote.

    Raises:
        ValueError: the document has no place for it.
    """
    parts = [f"Tried on: {machine}"]
    for section, members in groupby(rows, key=lambda row: SECTIONS[row.file]):
        parts += [f"### {section}", table_of(members)]
    replace_section(document, COMMAND, "\n\n".join(parts))


def machine(engine: Engine) -> str:
    """Return what the tests ran on, without anything that names this very machine."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"] if sys.platform == "linux" else platform.system()
    sentence = f"{processor()}, {system}, {engine.read('--version').strip()}."
    return f"{sentence} {os.environ.get('CONTAINER_NOTE', '')}".strip()


def main(report: Path) -> int:
    rows = read_rows(report)
    if not rows:
        print("nothing was tried; see why with `pytest -m container -rs tests/container`", file=sys.stderr)
        return 1
    write(PAGE, rows, machine(Engine.answering()))
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
