"""Write docs/reports/coverage.md from the measured rows, which are kept beside it as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

from export.coverage.rivals import BOUND, RIVALS
from export.coverage.rows import Row
from export.coverage.tasks import BOTH

TEMPLATE = Path(__file__).with_name("page.md")
NAMED = ("torch", "onnx", "onnxruntime", "timm", "transformers", "pytorchcv", "vit-pytorch", "torchvision")
WITHOUT_A_FILE = ("not exported",)
IMPORTED = ("right", "exact", "wrong", "incomplete", "unproved")
"""Statuses of files that the importer takes."""
HEADINGS = {
    "wrong": "Wrong",
    "traceback": "Tracebacks",
    "exact": "Exact in float64, beyond the bound in float32",
    "incomplete": "Imported, but not every graph runs",
    "unproved": "Imported, but not every layer could be compared",
    "unmeasured": "Not measured",
    "refused": "Refused",
    "not exported": "Without a file: refused by the exporter, in its words",
}
LONGEST = 400
"""Characters of a sentence."""


def write(rows: Mapping[str, Row], path: Path, machine: str, listed: int, day: date) -> None:
    """Write the page of the rows measured until `day`, in their order; `listed` counts the rows of the list."""
    measured = [row for row in rows.values() if row["status"] not in WITHOUT_A_FILE]
    imported = [row for row in measured if row["status"] in IMPORTED]
    right = [row for row in measured if row["status"] == "right"]
    page = TEMPLATE.read_text(encoding="utf-8").format(
        listed=listed,
        known=len(rows),
        without=len(rows) - len(measured),
        files=len(measured),
        architectures=len({(row["package"], row["name"]) for row in measured}),
        imported=len(imported),
        right=len(right),
        share=f"{100 * len(right) / max(1, len(measured)):.1f} %",
        wrong=sum(row["status"] == "wrong" for row in measured) or "none",
        median=f"{_median(max(row['differences'].values()) for row in right):.0e}",
        seconds=f"{_median(row['seconds'] for row in imported):.1f}",
        by_nodes=sum("reference" in row for row in measured),
        rivals="\n".join(_rivals(measured)),
        machine=machine,
        day=day.isoformat(),
        versions=", ".join(f"{name} {version(name)}" for name in NAMED),
        table="\n".join(_table(rows.values())),
        exceptions="\n".join(_exceptions(rows)),
    )
    path.write_text(page.rstrip() + "\n", encoding="utf-8")


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else float("nan")


def _rivals(rows: Iterable[Row]) -> list[str]:
    """Return the lines of the comparison, over the files that all were asked about, by one bound for all."""
    asked = [row for row in rows if "rivals" in row]
    ours = sum(row.get("differences", {}).get("input", 1.0) <= BOUND for row in asked)
    lines = [f"| Contraflow | {ours} | {len(asked)} | yes |"]
    for name in RIVALS:
        found = sum(row["rivals"][name] == "right" for row in asked)
        lines.append(f"| {name} {version(name)} | {found} | {len(asked)} | no |")
    return lines


def _table(rows: Iterable[Row]) -> list[str]:
    """Return one line for each architecture, with a cell for each exporter."""
    by_name: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault((row["package"], row["name"]), {})[row["by"]] = row
    lines = ["| package | architecture | layers | dynamo | tracing | also |", "|---|---|---|---|---|---|"]
    for (package, name), by in by_name.items():
        layers = max((row.get("layers", 0) for row in by.values()), default=0)
        also = [f"{way}: {_cell(row)}" for way, row in by.items() if way not in BOTH]
        served = [row["http"] for row in by.values() if "http" in row]
        also += [f"HTTP: {'yes' if all(answer == 'yes' for answer in served) else 'no'}"] if served else []
        cells = [package, name, str(layers or ""), *(_cell(by.get(way)) for way in BOTH), "; ".join(also)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row["status"] not in IMPORTED or not row.get("differences"):
        return str(row["status"])
    figure = f"{_worst(row['differences'])}, {row['seconds']:.1f} s"
    return figure if row["status"] == "right" else f"**{row['status']}**, {figure}"


def _worst(differences: Mapping[str, float]) -> str:
    return f"{max(differences.values()):.0e}"


def _exceptions(rows: Mapping[str, Row]) -> list[str]:
    """Return a section for every status but "right", with a line for every row."""
    lines: list[str] = []
    for status, heading in HEADINGS.items():
        found = {key: row for key, row in rows.items() if row["status"] == status}
        if found:
            lines += [f"## {heading}", "", *(f"- **{key}**: {_reason(row)}" for key, row in found.items()), ""]
    return lines


def _reason(row: Row) -> str:
    if row["status"] == "incomplete":
        return "left out are " + ", ".join(row["left_out"])
    if row["status"] == "unproved":
        return "; ".join(row["unproved"][:4])
    if row["status"] == "exact":
        return f"{_worst(row['float64'])} in float64, {_worst(row['differences'])} in float32"
    if row["status"] == "wrong":
        figures = (f"{name} {value:.0e}" for name, value in row["differences"].items())
        return ", ".join(figures) + (f"; HTTP {row['http']}" if row.get("http", "yes") != "yes" else "")
    sentence = " ".join(str(row["sentence"]).split())
    return sentence if len(sentence) <= LONGEST else sentence[:LONGEST] + " …"
