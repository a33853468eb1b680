"""`python -m bench.soak`: about half an hour on two free cores for the million; `--requests 20000` is a short form."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.soak.play import soak
from bench.soak.report import WHOLE, report
from bench.soak.server import ROOT

ALONE = "Nothing else was running on purpose."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=WHOLE)
    parser.add_argument("--bundles", type=Path, default=ROOT / "models" / "bundles")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "reliability.md")
    parser.add_argument("--beside", default=ALONE, help="a sentence for the report: what else the machine was doing")
    options = parser.parse_args()
    log = soak(options.requests, options.bundles)
    options.output.write_text(report(log, options.beside))
    print(*log.faults() or ["every check passed"], sep="\n")
    return bool(log.faults())


if __name__ == "__main__":
    sys.exit(main())
