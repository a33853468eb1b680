"""`python -m export.coverage`: measure every family and write docs/coverage.md."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from export.coverage import report
from export.coverage.exporters import EXPORTERS
from export.coverage.measure import measure
from export.coverage.served import ServiceDisagrees, ask
from export.coverage.zoo import FAMILIES, Family
from export.gradient.errors import GradientError
from export.importing import ImportedModel


def main(arguments: list[str] | None = None) -> int:
    """Rows are written as they are measured; a partial run keeps the others' rows. 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m export.coverage", description=__doc__)
    parser.add_argument("--families", nargs="*", help="default: all; none named: only write the page again")
    parser.add_argument("--exporters", nargs="*", choices=EXPORTERS, default=list(EXPORTERS))
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.md"))
    parser.add_argument("--machine", default=f"{platform.machine()}, {torch.get_num_threads()} threads")
    parser.add_argument("--double", action="store_true", help="also run the same nodes in double (slow)")
    options = parser.parse_args(arguments)
    known = {family.name: family for family in FAMILIES}
    if unknown := set(options.families or ()) - set(known):
        parser.error(f"no such family: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    rows = _earlier(options.out.with_suffix(".json"))
    versions = f"torch {torch.__version__}, onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}"
    failed = False
    for name in known if options.families is None else options.families:
        for exporter in options.exporters:
            row = _row(known[name], exporter, options.double)
            rows[f"{name}, {exporter}"] = row
            failed |= not report.passes(row)
            print(row, flush=True)
            report.write(_in_order(rows), options.out, options.machine, versions)
    report.write(_in_order(rows), options.out, options.machine, versions)
    return int(failed)


def _in_order(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    order = [f"{family.name}, {exporter}" for family in FAMILIES for exporter in EXPORTERS]
    return {key: rows[key] for key in order if key in rows}


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return rows


def _row(family: Family, exporter: str, in_double: bool) -> dict[str, Any]:
    """One measurement as plain values; a refusal or a disagreement is recorded, not raised."""
    row: dict[str, Any] = {"family": family.name, "exporter": exporter}
    served: list[tuple[ImportedModel, torch.nn.Module]] = []
    try:
        measured = measure(family, EXPORTERS[exporter], in_double, lambda *model: served.append(model))
    except GradientError as error:
        return {**row, "error": f"refused: {error}"}
    except Exception as error:  # exporters and runtimes raise whatever they like; the table shows it
        return {**row, "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    row |= asdict(measured)
    try:
        ask(*served[0])
    except (ServiceDisagrees, GradientError) as error:
        return {**row, "http": f"no: {error}"}
    return {**row, "http": "yes"}


if __name__ == "__main__":
    sys.exit(main())
