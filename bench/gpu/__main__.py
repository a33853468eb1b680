"""`make bench-gpu`: what the GPU computes and how fast, in parts that stand alone → docs/reports/gpu.md.

Every row is written to the folder `--out` as soon as it is measured. A run that was cut off goes on where it was,
and `--from FOLDER` writes the page on a machine that has no GPU. The page has every part, measured now or before.
Without a GPU everything runs on the CPU, which never reaches the page: use `--small`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.gpu.card import described, facts, found
from bench.gpu.part import Setting, failures
from bench.gpu.results import Results
from bench.gpu.running import SHARES, measure_all, measure_here, part_named
from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS, ROOT, SHIPPED

COMMAND = "make bench-gpu"


def main() -> int:
    options = parse()
    if options.part:
        device = "cpu" if options.small else found()
        setting = Setting(options.seconds, device, options.small, options.bundles)
        measure_here(options.part, setting, options.out, facts(device))
        return 0
    parts = options.parts.split(",")
    folder = options.rendered or options.out.absolute()
    if options.rendered is None:
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, _leave)
        passed_on = ["--bundles", str(options.bundles.absolute()), *(["--small"] if options.small else [])]
        measure_all(parts, options.seconds, folder, passed_on)
    if options.small or not is_of_a_card(folder):
        options.print = True
    publish(options, COMMAND, "\n\n".join(section(name, folder) for name in SHARES))
    return 0


def parse() -> argparse.Namespace:
    parser = parser_of("python -m bench.gpu", __doc__, DOCS / "reports" / "gpu.md")
    parser.add_argument(
        "--parts", default=",".join(SHARES), help="to measure, with commas between (default: %(default)s)"
    )
    parser.add_argument("--part", choices=SHARES, help="measure this one in this process, and write no page")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", metavar="FOLDER", help="of the rows")
    parser.add_argument(
        "--seconds",
        type=float,
        default=330.0,
        help="that all parts may take together; a row that has begun is finished (default: %(default)s)",
    )
    parser.add_argument(
        "--small", action="store_true", help="measure as little as there is, on the CPU; implies --print"
    )
    parser.add_argument("--bundles", type=Path, default=SHIPPED, metavar="FOLDER")
    parser.add_argument("--from", dest="rendered", type=Path, metavar="FOLDER", help="only write the page, from rows")
    options = parser.parse_args()
    if unknown := set(options.parts.split(",")) - set(SHARES):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _leave(number: int, frame: FrameType | None) -> None:
    """Exit as Ctrl-C does it, by an exception, so that the part that runs is ended with all that it started."""
    sys.exit(128 + number)


def is_of_a_card(folder: Path) -> bool:
    """Return whether there are rows, and all were measured on a card: others must not take the place of a card's."""
    machines = [machine for name in SHARES if (machine := Results(folder / f"{name}.jsonl").machine)]
    return bool(machines) and all(machine["device"] == "cuda" for machine in machines)


def section(name: str, folder: Path) -> str:
    """Return what the page says of a part: the machine, its own section, what failed, and what is missing."""
    results = Results(folder / f"{name}.jsonl")
    machine = results.machine
    if machine is None:
        return f"### {name}\n\nNot measured yet."
    rows = results.rows()
    good = [row for row in rows if "error" not in row]
    said = [f"### {name}", described(machine), part_named(name).section(good) if good else "No rows."]
    said += failures("Rows that failed", ((row["error"], f"`{row['key']}`") for row in rows if "error" in row))
    if results.stopped:
        said.append(f"Rows that would follow are missing: {results.stopped}.")
    return "\n\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
