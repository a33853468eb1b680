"""`make bench-gradients`: the cost of gradient norms on a CPU, in forward runs → docs/reports/gradients.md.

Everything in a table is measured in one process, one thread each, in turn. Before anything is timed, the norms are
compared: ours with torch in float64, those of the rivals with ours. Memory is measured in a process for each run. All
of it takes about fifteen minutes.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from bench.bundles.networks import RESNET50_SIZE, catalogue, resnet50, small
from bench.gradients import tables, targets
from bench.gradients.measure import at, measure, measure_ours, peaks
from bench.gradients.needs import installed
from bench.gradients.rivals.rows import ROWS
from bench.gradients.subject import write
from bench.harness.machine import day_and_machine
from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS

COMMAND = "make bench-gradients"
COMPACT = 8
"""The batch of the table of memory and of the profile."""


@dataclass(frozen=True)
class Plan:
    """A network to measure: what builds it, the size of its images, at which batches, and from which on ours alone."""

    build: Callable[[], nn.Module]
    size: int
    batches: tuple[int, ...]
    alone_from: int | None = None


PLANS = {
    "resnet20": Plan(partial(catalogue, "resnet20"), 32, (1, 8, 32)),
    "resnet56": Plan(partial(catalogue, "resnet56"), 32, (1, 8, 32)),
    "resnet50": Plan(partial(resnet50, images=4), RESNET50_SIZE, (1, 8, 32), alone_from=32),
}
PACKAGES = {
    "BackPACK": "backpack-for-pytorch",
    "Opacus": "opacus",
    "onnx2pytorch": "onnx2pytorch",
    "onnx2torch": "onnx2torch",
    "onnx-ad": "onnx-ad",
}
"""The packages that we compare with, and their names on PyPI."""


def main() -> None:
    parser = parser_of("python -m bench.gradients", __doc__, DOCS / "reports" / "gradients.md")
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing per table (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=PLANS, default=list(PLANS), help="names of networks")
    parser.add_argument("--batches", nargs="*", type=int, help="instead of each network's own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the rivals' own making
    logging.disable(logging.WARNING)
    measured: list[tables.Table] = []
    memory: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rehearsal, _ = write("small", small(), 8, Path(folder) / "small")
        for name in options.only:
            plan = PLANS[name]
            alone, derived = write(name, plan.build(), plan.size, Path(folder) / name)
            for batch in options.batches or plan.batches:
                subject = at(alone, batch)
                ours_alone = plan.alone_from is not None and batch >= plan.alone_from
                measured.append((measure_ours if ours_alone else measure)(subject, derived, options.seconds))
                print(tables.markdown(measured[-1]), flush=True)
                if batch == COMPACT:
                    memory[name] = peaks(subject, rehearsal)
    needed = tables.needs(megabytes(), memory, COMPACT)
    written = [*map(tables.markdown, measured), targets.against_targets(measured), needed]
    publish(options, COMMAND, tables.section(conditions(), *written, tables.profile(measured, COMPACT)))


def megabytes() -> dict[str, float]:
    """Return what must be installed for each run, and for the whole service, where it is."""
    found = {}
    needed = {tables.SERVICE: installed.service()} | {name: row.packages for name, row in ROWS.items()}
    for name, packages in needed.items():
        with suppress(metadata.PackageNotFoundError):
            found[name] = installed.megabytes(packages)
    return found


def conditions() -> str:
    """Return the day, the machine and the versions, in one sentence."""
    versions = [f"ONNX Runtime {onnxruntime.__version__}", f"torch {torch.__version__}"]
    for name, package in PACKAGES.items():
        try:
            versions.append(f"{name} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"without {name}")
    return f"{day_and_machine()}, one thread; {', '.join(versions)}."


if __name__ == "__main__":
    main()
