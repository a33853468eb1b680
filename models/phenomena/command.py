"""`python -m models phenomena`: measure and write the sections that need neither data nor a trained network."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from models.phenomena import exploding, normalization, shattering, style, vanishing
from models.phenomena.section import Section, write_section

SECTIONS: dict[str, Callable[[], Section]] = {
    vanishing.KEY: lambda: vanishing.section(vanishing.measure()),
    exploding.KEY: lambda: exploding.section(exploding.measure()),
    normalization.KEY: lambda: normalization.section(normalization.measure()),
    shattering.KEY: lambda: shattering.section(shattering.measure()),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `phenomena`."""
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder of reports/ and figures/ (default: %(default)s)"
    )
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="make this section only; may be repeated (default: all)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the sections; return 1 if a statement does not hold."""
    torch.set_num_threads(1)  # matrices this small lose more to a second thread than they gain
    return write_sections({key: SECTIONS[key] for key in options.only or SECTIONS}, options.docs)


def write_sections(sections: dict[str, Callable[[], Section]], docs: Path) -> int:
    """Measure, draw and write each section, and print every statement that does not hold; return 1 if there is one."""
    failed = 0
    for key, make in sections.items():
        started = time.perf_counter()
        with style.drawing():
            section = make()
            write_section(section, docs)
        print(f"{key}: {len(section.statements)} statements, {time.perf_counter() - started:.1f} s")
        for statement in section.statements:
            if not statement.holds:
                failed += 1
                asserted = f"asserted {statement.relation} {statement.bound:g}"
                print(f"  {statement.name} does not hold: {statement.value:.4g}, {asserted}")
    return 1 if failed else 0
