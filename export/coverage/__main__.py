"""`python -m export.coverage`: measure every family and file, and write docs/coverage.md."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from export.coverage import report
from export.coverage.exporters import EXPORTERS
from export.coverage.families import FAMILIES, Family
from export.coverage.measure import Measurement, measure
from export.coverage.other_producers import File, files, measure_file, producer
from export.coverage.served import ServiceDisagrees, ask
from export.graph.errors import GradientError
from export.importing import ImportedModel


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for; return 1 where something does not pass.

    The page is written again after every row, and rows that are not measured keep their figures.
    """
    parser = argparse.ArgumentParser(prog="python -m export.coverage", description=__doc__)
    parser.add_argument("--families", nargs="*", help="architecture families (default: all; without a name: none)")
    parser.add_argument("--files", nargs="*", help="files by other producers (default: all; without a name: none)")
    parser.add_argument(
        "--exporters", nargs="*", choices=EXPORTERS, default=list(EXPORTERS), help="torch exporters (default: all)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/coverage.md"), help="page to write (default: %(default)s)"
    )
    parser.add_argument(
        "--machine",
        default=f"{platform.machine()}, {torch.get_num_threads()} threads",
        help="what the page calls this machine (default: %(default)s)",
    )
    parser.add_argument("--double", action="store_true", help="also run the same graphs in float64 (slow)")
    options = parser.parse_args(arguments)
    known = {family.name: family for family in FAMILIES}
    present = {file.name: file for file in files()}
    for named, what, there in ((options.families, "family", known), (options.files, "file", present)):
        if unknown := set(named or ()) - set(there):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}; known are {', '.join(there)}")
    rows = _earlier(options.out.with_suffix(".json"))
    versions = f"torch {torch.__version__}, onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}"
    failed = False
    tasks = [
        (f"{name}, {exporter}", partial(_family_row, known[name], exporter, options.double))
        for name in (known if options.families is None else options.families)
        for exporter in options.exporters
    ]
    tasks += [
        (name, partial(_file_row, present[name])) for name in (present if options.files is None else options.files)
    ]
    for key, measured in tasks:
        row = rows[key] = measured()
        failed |= not report.passes(row)
        print(row, flush=True)
        report.write(_in_order(rows), options.out, options.machine, versions)
    report.write(_in_order(rows), options.out, options.machine, versions)
    return int(failed)


def _in_order(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sort the rows: families in the order of `families.py`, then files by name."""
    order = [f"{family.name}, {exporter}" for family in FAMILIES for exporter in EXPORTERS]
    order += sorted(key for key, row in rows.items() if "file" in row)
    return {key: rows[key] for key in order if key in rows}


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return rows


Keep = Callable[[ImportedModel, torch.nn.Module], None]


def _family_row(family: Family, exporter: str, in_double: bool) -> dict[str, Any]:
    described = {"family": family.name, "exporter": exporter}
    return _row(described, lambda keep: measure(family, EXPORTERS[exporter], in_double, keep))


def _file_row(file: File) -> dict[str, Any]:
    return _row({"file": file.name, "producer": producer(file)}, lambda keep: measure_file(file, keep))


def _row(described: dict[str, Any], measured: Callable[[Keep], Measurement]) -> dict[str, Any]:
    """Measure, serve, and return one row of plain values; a refusal or a disagreement is recorded, not raised."""
    served: list[tuple[ImportedModel, torch.nn.Module]] = []
    try:
        row = described | asdict(measured(lambda *model: served.append(model)))
    except GradientError as error:
        return {**described, "error": f"refused: {error}"}
    except Exception as error:  # exporters and runtimes raise whatever they like; the table shows it
        first = str(error).splitlines()[0] if str(error) else ""
        return {**described, "error": f"{type(error).__name__}: {first}"}
    try:
        ask(*served[0])
    except (ServiceDisagrees, GradientError) as error:
        return {**row, "http": f"no: {error}"}
    return {**row, "http": "yes"}


if __name__ == "__main__":
    sys.exit(main())
