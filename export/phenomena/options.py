"""Options of `python -m export phenomena`, apart from its work so that other verbs need no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

SECTIONS = ("degradation", "identity", "path", "features")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the verb `phenomena`."""
    parser.add_argument("--bundles", type=Path, default=Path("models/bundles"))
    parser.add_argument(
        "--data", type=Path, help="folder of held-out photographs by label, or a data set's with its test/; for 7 and 8"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of phenomena.md and figures/")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section to make again (default: all)")
    parser.add_argument("--photographs", type=int, default=4000, help="for section 8; half fit, half judge")
    parser.add_argument("--paths", type=int, default=10, help="pairs of photographs for section 7")
