"""The page's section on the service under load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.gpu.load.turns import GRAPHS
from bench.gpu.part import Row
from bench.harness.page import table

GENERATOR_LIMITS = 0.85
"""Share of a core above which a generator may be slower than what it measures."""
LOADS = (
    "net | started with | request | connections | images/s | of the bound | p50 | p99 | "
    "CPU per request | best batch | card's memory | card busy | answered by | generators"
)


def section(rows: Sequence[Row]) -> str:
    """Return the section: the loads, the bounds, the host's part."""
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("load", "bound", "host")}
    bounds = {row["net"]: row for row in by_kind["bound"]}
    parts = [
        "`python -m service` in a process of its own, over sockets; of each answer the status is checked, and of a "
        "prediction the label. *Of the bound*: of the "
        "images per second of the same graph in one process at its best batch, with inputs in the device's memory and "
        "TensorFloat-32 off by the provider's option, as in the service. "
        "*CPU per request*: the service's processor time, all cores. *Card's memory*: what all processes use above "
        "what they used before the start.",
        table(LOADS, [_load(row, bounds) for row in by_kind["load"]]),
    ]
    if by_kind["bound"]:
        sizes = sorted({int(size) for row in by_kind["bound"] for rates in row["rates"].values() for size in rates})
        header = " | ".join(["net", "graph", "device", *(f"batch {size}" for size in sizes)])
        lines = [line for row in by_kind["bound"] for line in _bound(row, sizes)]
        parts += ["The bound, in images per second:", table(header, lines)]
    if by_kind["host"]:
        parts += ["The host's part of an image, on one core:"]
        parts += [table("net | decode | normalise", [_host(row) for row in by_kind["host"]])]
    return "\n\n".join(parts)


def _load(row: Row, bounds: dict[str, Row]) -> str:
    bound = bounds.get(row["net"])
    device = "cuda" if row.get("answered_by", "").startswith("CUDA") else "cpu"
    most = max(bound["rates"][GRAPHS[row["path"]]].values()) if bound and bound["device"] == device else None
    of_bound = row["rate"] / most if most else None
    flags = f"`--execution-provider {row['provider']}{' ' if row['flags'] else ''}{row['flags']}`"
    cells = [row["net"], flags, row["path"], str(row["connections"]), _rate(row), _written(of_bound, ".2f")]
    cells += [_written(row[name], ".2f", " ms") for name in ("p50", "p99")]
    cells += [f"{row['host_us']:,.0f} µs", str(row.get("best_batch") or "")]
    cells += [_written(row["device_mib"], ",.0f", " MiB"), _written(row["device_busy"], ".0f", " %")]
    return " | ".join([*cells, row.get("answered_by", ""), _generators(row)])


def _rate(row: Row) -> str:
    """Return the rate, and what else was answered."""
    wrong = ", ".join(f"{count} × {what}" for what, count in sorted(row["wrong"].items()))
    return f"{row['rate']:,.0f}{f' (and {wrong})' if wrong else ''}"


def _generators(row: Row) -> str:
    """Return how many there were and how busy, and that they may be the limit."""
    limit = ", perhaps the limit" if row["generator_busy"] > GENERATOR_LIMITS else ""
    late = f", late by {row['late']:.1f} s" if row["late"] else ""
    return f"{row['generators']}, {100 * row['generator_busy']:.0f} % of a core each{limit}{late}"


def _bound(row: Row, sizes: Sequence[int]) -> Iterator[str]:
    for graph, rates in row["rates"].items():
        found = [_written(rates.get(str(size)), ",.0f") for size in sizes]
        yield " | ".join([row["net"], graph, row["device"], *found])


def _host(row: Row) -> str:
    spent = row["microseconds"]
    return f"{row['net']} | {spent['decode']:,.0f} µs | {spent['normalise']:,.0f} µs"


def _written(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
