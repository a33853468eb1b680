"""`python -m export.coverage.explain`: explanations beside grad-cam's and captum's, for every listed architecture.

It needs `pip install grad-cam captum`. It writes build/explanation-coverage.json, row by row, and the
table beside it.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from export.coverage.architectures.listed import ARCHITECTURES
from export.coverage.children import Died, OutOfTime, Raised, in_child
from export.coverage.explained import BOUND, STEPS, explained_row
from export.coverage.files.exported import Exports, NotExported, default_folder
from export.coverage.rows import Row
from export.coverage.store import Store
from export.coverage.tasks import BOTH, MEASURED_WITHIN

COMPLETE = 0.01
"""Part of the rise of a logit that integrated gradients may miss."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for, in an order that mixes families and exporters; return 1 where a row is wrong."""
    parser = argparse.ArgumentParser(prog="python -m export.coverage.explain", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=["*"], metavar="PATTERN", help="parts of keys: 'timm/res*, dynamo'"
    )
    parser.add_argument("--missing", action="store_true", help="only rows that are not measured yet")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder of exports (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/explanation-coverage.md"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    exports, store = Exports(options.cache.absolute()), Store(options.out.with_suffix(".json"))
    listed = [(name, exporter) for name in ARCHITECTURES for exporter in BOTH]
    for name, exporter in sorted(listed, key=_mixed):
        key = f"{name}, {exporter}"
        asked = any(fnmatch.fnmatch(key, f"*{pattern}*") for pattern in options.only)
        if asked and not (options.missing and key in store.rows):
            store.put(key, _row(exports, name, exporter))
            print(key, store.rows[key], flush=True)
    options.out.write_text(page(store.rows), encoding="utf-8")
    return int(any(row["status"] == "wrong" for row in store.rows.values()))


def _mixed(listed: tuple[str, str]) -> bytes:
    """Return a key by which files are sorted as if shuffled, so that a run that is ended early has seen all kinds."""
    return hashlib.sha256(", ".join(listed).encode()).digest()


def _row(exports: Exports, name: str, exporter: str) -> Row:
    try:
        row: Row = in_child(explained_row, name, exports.file(ARCHITECTURES[name], exporter), seconds=MEASURED_WITHIN)
    except NotExported as error:
        return {"status": "not exported", "sentence": str(error)}
    except (OutOfTime, Died, Raised) as error:
        return {"status": "unmeasured", "sentence": str(error)}
    return row


def page(rows: dict[str, Row]) -> str:
    """Return the table in words and lines."""
    measured = {key: row for key, row in rows.items() if "integrated_gradients" in row}
    drawn = [row for row in measured.values() if row["grad_cam"] is not None]
    right = Counter(row["status"] for row in measured.values())
    near = {
        name: sum(row[name] <= BOUND for row in among)
        for name, among in (("grad_cam", drawn), ("integrated_gradients", list(measured.values())))
    }
    complete = sum(row["incomplete"] <= COMPLETE for row in measured.values())
    lines = [
        "# Explanations of strangers' classifiers",
        "",
        f"Explanations of {len(measured)} files of {len({key.split(', ')[0] for key in measured})} architectures,",
        f"beside grad-cam {version('grad-cam')} and captum {version('captum')} on the architecture's torch network.",
        "",
        "| | within | of |",
        "|---|---|---|",
        f"| Grad-CAM, the last layer's map and up to two more | {near['grad_cam']} | {len(drawn)} |",
        f"| integrated gradients, {STEPS} points from black | {near['integrated_gradients']} | {len(measured)} |",
        f"| these sum to the rise of the logit, within {COMPLETE:.0%} | {complete} | {len(measured)} |",
        "",
        f"Within is a difference of {BOUND:.0e} of the sample's largest entry. The packages run in float64, where the",
        f"network does; the bundle runs in float32, as it is served. {right['rounding']} files exceed the bound by no",
        f"more than four times what the packages' float32 differs by from their float64; {right['wrong']} are wrong.",
        "Whether the points suffice for the sum is a matter of the network: both sum to the same.",
        f"{sum(not row['mapped'] for row in measured.values())} files have no map, because they work on tokens. Of"
        f" {sum(bool(row['mapped']) and row['grad_cam'] is None for row in measured.values())} more",
        "no module's output is the map, so that grad-cam cannot be asked for it.",
        "",
        "    python -m export.coverage.explain [--only PATTERN …] [--missing]",
        "",
        "| file | Grad-CAM | integrated gradients | sum misses | layers compared | with a map |",
        "|---|---|---|---|---|---|",
    ]
    for key, row in sorted(rows.items()):
        if key in measured:
            cam = "" if row["grad_cam"] is None else f"{row['grad_cam']:.0e}"
            figures = f"{row['integrated_gradients']:.0e} | {row['incomplete']:.1%} | {row['layers']} | {row['mapped']}"
            lines.append(f"| {key} | {cam} | {figures} |")
        else:
            lines.append(f"| {key} | {row['status']} | | | | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
