"""Options of `python -m export phenomena`, in a file without torch so that other verbs do not load it."""

from __future__ import annotations

import argparse
from pathlib import Path

SECTIONS = ("degradation", "identity", "path", "features")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `phenomena`."""
    parser.add_argument(
        "--bundles", type=Path, default=Path("models/bundles"), help="folder of bundles (default: %(default)s)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of held-out photographs, by label or under test/ by label; sections 7 and 8 need it",
    )
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder of reports/ and figures/ (default: %(default)s)"
    )
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="make this section only; may be repeated (default: all)"
    )
    parser.add_argument(
        "--photographs",
        type=int,
        default=4000,
        help="photographs for section 8; half of them fit the probes, half judge them (default: %(default)s)",
    )
    parser.add_argument(
        "--paths", type=int, default=10, help="pairs of photographs for section 7 (default: %(default)s)"
    )
