"""`python -m bench.promises`: measures the promises and writes each one's figures into docs/promises.md.

All ten take about six minutes on two cores. `--only 3 8` measures some of them and leaves the other
sections as they are.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.page import marks, replace_section
from bench.promises import (
    backward,
    container,
    counts,
    delay,
    gone,
    hostile,
    overload,
    photographs,
    provider,
    restart,
    versions,
)
from bench.promises.bundles import ROOT
from bench.promises.findings import Finding

PAGE = ROOT / "docs" / "promises.md"
COMMAND = "make bench-promises"
MEASURES: dict[int, Callable[[], Iterator[Finding]]] = {
    1: gone.measure,
    2: delay.measure,
    3: overload.measure,
    4: lambda: itertools.chain(versions.measure(), restart.measure()),
    5: provider.measure,
    6: container.measure,
    7: photographs.measure,
    8: hostile.measure,
    9: counts.measure,
    10: backward.measure,
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.promises", description=__doc__)
    parser.add_argument("--only", nargs="+", type=int, choices=MEASURES, default=list(MEASURES), metavar="NUMBER")
    parser.add_argument("--print", action="store_true", help="leave docs/promises.md alone")
    options = parser.parse_args(arguments)
    kept = True
    for number in options.only:
        section = measured(number)
        print(f"## {number}\n\n{section}\n", flush=True)
        kept = kept and "**no**" not in section
        if not options.print:
            replace_section(PAGE, section_of(number), section)
    if not options.print:
        replace_section(PAGE, COMMAND, summary(PAGE.read_text(encoding="utf-8")))
    return 0 if kept else 1


def section_of(number: int) -> str:
    """The name of a promise's section in the page."""
    return f"{COMMAND}, {number}"


def measured(number: int) -> str:
    """A promise's table; a measurement that breaks is one that was not kept."""
    began = time.monotonic()
    try:
        findings = list(MEASURES[number]())
    except Exception as error:
        findings = [Finding("the measurement", f"broke: {type(error).__name__}: {error}", "ends", kept=False)]
    return f"{table(findings)}\n\n{conditions()}, in {time.monotonic() - began:.0f} s."


def table(findings: Sequence[Finding]) -> str:
    """A Markdown table, one row per finding."""
    verdict = {True: "yes", False: "**no**", None: ""}
    rows = [f"| {each.what} | {each.figure} | {each.promised} | {verdict[each.kept]} |" for each in findings]
    return "\n".join(["| what | figure | promised | kept |", "|---|---|---|---|", *rows])


def conditions() -> str:
    """The machine, and whether it had anything else to do."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())
    load = os.getloadavg()[0]
    return f"Measured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} CPUs ({name}), load average {load:.1f} at the end"


def summary(page: str) -> str:
    """One row per promise: its title, and whether every figure was kept, read from the page itself."""
    rows = []
    for number, title in re.findall(r"^## (\d+)\. (.+)$", page, re.MULTILINE):
        begin, end = marks(section_of(int(number)))
        section = page.partition(begin)[2].partition(end)[0]
        checks, failures = len(re.findall(r"\| yes \|$", section, re.MULTILINE)), section.count("| **no** |")
        verdict = "not measured" if not checks + failures else "**no**" if failures else "yes"
        rows.append(f"| {number} | {title} | {checks} of {checks + failures} | {verdict} |")
    return "\n".join(["| | promise | figures within | kept |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
