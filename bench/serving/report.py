"""The section of docs/reports/serving.md that `make bench-serving` fills: tables, targets, profiles."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.figures import Figure
from bench.harness.machine import day_and_machine
from bench.harness.page import table
from bench.serving.results import COMPARED, Measured, Row
from bench.serving.targets import targets

COMMAND = "make bench-serving"


def report(measured: Sequence[Measured]) -> str:
    parts = [f"{day_and_machine()}."]
    for one in measured:
        judged = targets(one)
        parts += [
            f"### {one.subject.title}",
            f"{one.subject.seconds:g} s for each number of connections.",
            servers(one),
            *([table("target | measured | aim | verdict", map(target_row, judged))] if judged else []),
            *(profile(one) if one.profile else []),
            f"Load average at the end: {one.load_average:.1f}.",
        ]
    return "\n\n".join(parts)


def servers(measured: Measured) -> str:
    """Return one row for every server, and the two bounds."""
    connections = measured.subject.connections
    header = (
        f"server | requests/s at {', '.join(map(str, connections))} | per server-CPU-second at {COMPARED} "
        f"| p50 ms at 1 | p99 ms at {COMPARED} | errors | memory MB | ready s"
    )
    rows = [server(row, connections) for row in (*measured.rows, measured.http_alone)]
    for name, bound in (("bound, Pillow", measured.pillow), ("bound, the decoder in use", measured.decoder)):
        rates = f"{per_second(bound.rate)} | {per_second(bound.per_cpu_second)}"
        rows.append(f"{name}, batch {bound.batch} | {rates} | {bound.alone_ms:.2f} | | | |")
    return table(header, rows)


def server(row: Row, connections: Sequence[int]) -> str:
    if row.reason:
        return f"{row.name} | {row.reason} | | | | | |"
    at = row.results[COMPARED]
    rates = ", ".join(per_second(row.results[number]["rate"]) for number in connections)
    wrong = sum(result["wrong"] for result in row.results.values())
    return (
        f"{row.name} | {rates} | {per_second(at['per_cpu_second'])} | {row.results[1]['p50']:.2f} | {at['p99']:.1f} "
        f"| {wrong} | {row.memory_mb:.0f} | {row.ready_seconds:.2f}"
    )


def target_row(target: Figure) -> str:
    verdict = "reached" if target.kept else "**not reached**"
    return f"{target.what} | {target.value} | {target.promised} | {verdict}"


def profile(measured: Measured) -> tuple[str, str]:
    """Return where the service's CPU time goes, beside what the bounds need."""
    total = sum(measured.profile.values())
    bounds = {"Pillow": measured.pillow, "the decoder in use": measured.decoder}
    needs = ", ".join(f"{1e6 / bound.per_cpu_second:,.0f} µs with {name}" for name, bound in bounds.items())
    rows = [f"{part} | {spent:,.0f} | {spent / total:.1%}" for part, spent in sorted(measured.profile.items())]
    return (
        f"CPU time of one request at {COMPARED} connections, clocks around the parts (the bound needs {needs}):",
        table("part | µs | share", [*rows, f"together | {total:,.0f} | "]),
    )


def per_second(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
