"""`python -m bench.promises`: measures the promises and writes each one's figures into docs/reports/promises.md.

All ten take about six minutes on two cores. `--only 3 8` measures some of them and leaves the other
sections as they are; `--quick` shows in a fraction of the time that everything runs, with figures worth nothing.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bench.harness.figures import Figure
from bench.harness.machine import conditions
from bench.harness.page import marks, parser_of, publish, replace_section, table
from bench.harness.paths import DOCS
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

COMMAND = "make bench-promises"
MEASURES: dict[int, tuple[Callable[[float], Iterator[Figure]], ...]] = {
    1: (gone.measure,),
    2: (delay.measure,),
    3: (overload.measure,),
    4: (versions.measure, restart.measure),
    5: (provider.measure,),
    6: (container.measure,),
    7: (photographs.measure,),
    8: (hostile.measure,),
    9: (counts.measure,),
    10: (backward.measure,),
}
VERDICTS = {True: "yes", False: "**no**", None: ""}
QUICK = 0.05


def main() -> int:
    parser = parser_of("python -m bench.promises", __doc__, DOCS / "reports" / "promises.md")
    parser.add_argument("--only", nargs="+", type=int, choices=MEASURES, default=list(MEASURES), metavar="NUMBER")
    parser.add_argument("--quick", action="store_true", help="measure as little as there is")
    options = parser.parse_args()
    kept = True
    for number in options.only:
        print(f"## {number}\n", flush=True)
        section = measured(number, QUICK if options.quick else 1.0)
        publish(options, section_of(number), section)
        kept = kept and VERDICTS[False] not in section
    if not options.print:
        replace_section(options.page, COMMAND, summary(options.page.read_text(encoding="utf-8")))
    return 0 if kept else 1


def section_of(number: int) -> str:
    """Return the name of a promise's section in the page."""
    return f"{COMMAND}, {number}"


def measured(number: int, scale: float) -> str:
    """Return a promise's section; a measurement that breaks counts as a promise that was not kept."""
    began = time.monotonic()
    try:
        figures = [figure for measure in MEASURES[number] for figure in measure(scale)]
    except Exception as error:
        figures = [Figure("the measurement", f"broke: {type(error).__name__}: {error}", "ends", kept=False)]
    return f"{figures_table(figures)}\n\n{conditions()}, in {time.monotonic() - began:.0f} s."


def figures_table(figures: Sequence[Figure]) -> str:
    """Return one row for each figure."""
    rows = [f"{each.what} | {each.value} | {each.promised} | {VERDICTS[each.kept]}" for each in figures]
    return table("what | figure | promised | kept", rows)


def summary(page: str) -> str:
    """Return one row for each promise, its title and whether every figure was kept, read from the page itself."""
    rows = []
    for number, title in re.findall(r"^## (\d+)\. (.+)$", page, re.MULTILINE):
        begin, end = marks(section_of(int(number)))
        section = page.partition(begin)[2].partition(end)[0]
        checks, failures = len(re.findall(r"\| yes \|$", section, re.MULTILINE)), section.count("| **no** |")
        verdict = "not measured" if not checks + failures else VERDICTS[failures == 0]
        rows.append(f"{number} | {title} | {checks} of {checks + failures} | {verdict}")
    return table("| promise | figures within | kept", rows)


if __name__ == "__main__":
    sys.exit(main())
