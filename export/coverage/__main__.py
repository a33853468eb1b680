"""`python -m export.coverage`: measure every listed architecture and file, and write docs/reports/coverage.md."""

from __future__ import annotations

import argparse
import fnmatch
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from pathlib import Path

from export.coverage.files.exported import Exports, default_folder
from export.coverage.page import write
from export.coverage.rows import Row
from export.coverage.store import Store
from export.coverage.tasks import tasks

ACCEPTED = ("right", "exact", "refused", "not exported")


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for; return 1 where a row is neither right, nor exact, nor refused.

    Rows are written as they come, so that a run can be ended and taken up again by `--again missing`. Rows that are
    not measured keep their figures.
    """
    parser = argparse.ArgumentParser(prog="python -m export.coverage", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=["*"], metavar="PATTERN", help="parts of keys: 'timm/res*, dynamo'"
    )
    parser.add_argument("--again", nargs="*", metavar="STATUS", help="only rows of such a status: missing, refused, …")
    parser.add_argument("--jobs", type=int, default=2, help="files measured at once (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder of exports (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/reports/coverage.md"), help="page (default: %(default)s)"
    )
    parser.add_argument("--machine", default=platform.machine(), help="what the page calls this machine")
    options = parser.parse_args(arguments)
    known = tasks(Exports(options.cache.absolute()))
    store = Store(options.out.with_suffix(".json"))
    wanted = [
        key
        for key in known
        if any(fnmatch.fnmatch(key, f"*{pattern}*") for pattern in options.only)
        and (options.again is None or store.status(key) in options.again)
    ]
    started, accepted = time.monotonic(), True
    with ThreadPoolExecutor(options.jobs) as pool:
        pending = {pool.submit(known[key]): key for key in wanted}
        for number, done in enumerate(as_completed(pending), 1):
            row = done.result()
            store.put(pending[done], row)
            accepted &= row["status"] in ACCEPTED
            print(f"{number}/{len(wanted)} {pending[done]}: {_said(row)}", flush=True)
    rows = {key: store.rows[key] for key in known if key in store.rows}
    write(rows, options.out, options.machine, len(known), date.today())
    print(f"{len(wanted)} rows in {(time.monotonic() - started) / 60:.0f} minutes; {options.out}")
    return int(not accepted)


def _said(row: Row) -> str:
    figures = row.get("differences") or {}
    worst = f", {max(figures.values()):.0e}" if figures else ""
    seconds = f", {row['seconds']:.1f} s" if "seconds" in row else ""
    return f"{row['status']}{worst}{seconds}" + (f": {row['sentence']}" if "sentence" in row else "")


if __name__ == "__main__":
    sys.exit(main())
