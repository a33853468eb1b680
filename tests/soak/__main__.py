"""`python -m tests.soak`: about half an hour on two free cores for the million; `--requests 20000` is a short form."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS, SHIPPED
from tests.soak.play import soak
from tests.soak.report import COMMAND, WHOLE, report

ALONE = "Nothing else was running on purpose."


def main() -> int:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "reliability.md")
    parser.add_argument("--requests", type=int, default=WHOLE)
    parser.add_argument("--bundles", type=Path, default=SHIPPED)
    parser.add_argument("--beside", default=ALONE, help="a sentence for the report: what else the machine was doing")
    parser.add_argument("--quick", action="store_true", help="store fewer answers at the start, and do not warm up")
    options = parser.parse_args()
    pictures = 1 if options.quick else None
    log = soak(options.requests, options.bundles, most_pictures=pictures, warm_up=not options.quick)
    publish(options, COMMAND, report(log, options.beside))
    return bool(log.faults())


if __name__ == "__main__":
    sys.exit(main())
