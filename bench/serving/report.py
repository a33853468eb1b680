"""The section of docs/performance.md that `make bench-serving` fills: tables, targets, profiles."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.machine import machine
from bench.harness.page import table
from bench.serving.results import COMPARED, Measured, Row
from bench.serving.targets import targets

COMMAND = "make bench-serving"


def report(measured: Sequence[Measured]) -> str:
    """Return the section."""
    parts = [f"Measured on {machine()}."]
    for one in measured:
        judged = targets(one)
        parts += [
            f"### {one.subject.title}",
            f"{one.subject.seconds:g} s for each number of connections.",
            servers(one),
            *([table(("target", "measured", "aim", ""), [target.cells() for target in judged])] if judged else []),
            *(profile(one) if one.profile else []),
            f"Load average at the end: {one.load_average:.1f}.",
        ]
    return "\n\n".join(parts)


def servers(measured: Measured) -> str:
    """Return one row for every server, and the two bounds."""
    connections = measured.subject.connections
    header = (
        "server",
        f"requests/s at {', '.join(map(str, connections))}",
        f"per server-CPU-second at {COMPARED}",
        "p50 ms at 1",
        f"p99 ms at {COMPARED}",
        "errors",
        "memory MB",
        "ready s",
    )
    rows = [server(row, connections) for row in (*measured.rows, measured.http_alone)]
    for name, bound in (("bound, Pillow", measured.pillow), ("bound, the decoder in use", measured.decoder)):
        rates = (per_second(bound.rate), per_second(bound.per_cpu_second))
        rows.append((f"{name}, batch {bound.batch}", *rates, f"{bound.alone_ms:.2f}", "", "", "", ""))
    return table(header, rows)


def server(row: Row, connections: Sequence[int]) -> tuple[str, ...]:
    if row.reason:
        return (row.name, row.reason, "", "", "", "", "", "")
    at = row.results[COMPARED]
    return (
        row.name,
        ", ".join(per_second(row.results[number]["rate"]) for number in connections),
        per_second(at["per_cpu_second"]),
        f"{row.results[1]['p50']:.2f}",
        f"{at['p99']:.1f}",
        f"{sum(result['wrong'] for result in row.results.values())}",
        f"{row.memory_mb:.0f}",
        f"{row.ready_seconds:.2f}",
    )


def profile(measured: Measured) -> tuple[str, str]:
    """Return where the service's CPU time goes, beside what the bounds need."""
    total = sum(measured.profile.values())
    bounds = {"Pillow": measured.pillow, "the decoder in use": measured.decoder}
    needs = ", ".join(f"{1e6 / bound.per_cpu_second:,.0f} µs with {name}" for name, bound in bounds.items())
    rows = [(part, f"{spent:,.0f}", f"{spent / total:.1%}") for part, spent in sorted(measured.profile.items())]
    return (
        f"CPU time of one request at {COMPARED} connections, clocks around the parts (the bound needs {needs}):",
        table(("part", "µs", "share"), [*rows, ("together", f"{total:,.0f}", "")]),
    )


def per_second(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
