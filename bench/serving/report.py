"""The section of docs/performance.md that `make bench-serving` fills: tables, targets, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.machine import machine
from bench.serving.subjects import Subject

COMMAND = "make bench-serving"
OURS = "Contraflow"
COMPARED = 32
"""Connections at which servers are compared."""


@dataclass
class Row:
    """One server: results by number of connections, or the reason why there are none."""

    name: str
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    ready_seconds: float = 0.0
    memory_mb: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Bound:
    """The loop in process at its best batch: images per second and CPU-second; ms of one image at batch 1."""

    batch: int
    rate: float
    per_cpu_second: float
    alone_ms: float


@dataclass(frozen=True)
class Measured:
    """All that was measured of one subject."""

    subject: Subject
    pillow: Bound
    decoder: Bound
    """With the service's own decoder."""
    rows: list[Row]
    http_alone: Row
    """The same uvicorn with no model behind it."""
    memory_alone: float
    """MB of our service with this bundle alone."""
    profile: dict[str, float]
    """Microseconds of CPU per request by part."""
    load_average: float


@dataclass(frozen=True)
class Target:
    """A figure beside what it should be."""

    what: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def reached(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        verdict = "reached" if self.reached else "**not reached**"
        return f"| {self.what} | {self.value:.2f}{self.unit} | {sign} {self.bound:.2f}{self.unit} | {verdict} |"


def report(measured: Sequence[Measured]) -> str:
    """The Markdown section."""
    lines = [
        f"Measured on {machine()}; load generator and servers share the cores. Closed loop, every answer checked, "
        "errors, metrics, request ids, limits and back-pressure on. Memory is the proportional set size of the whole "
        "process tree after the load; ready is the time from start to the first right answer. The bound is a loop over "
        "decoding, preprocessing and ONNX Runtime in one process, without HTTP, at the best of several batch sizes, "
        "measured again before and after each measurement of the service, which is judged by those two (a machine's "
        "speed changes within minutes). "
        "HTTP alone is the same uvicorn, event loop and parser answering from a table: no service on it costs less. "
        "Rates, latencies and costs are those of right answers.",
    ]
    for one in measured:
        lines += ["", f"### {one.subject.title}", "", *table(one), "", *verdicts(one)]
        if one.profile:
            lines += ["", *profile_table(one)]
        lines += ["", f"Load average at the end: {one.load_average:.1f}."]
    return "\n".join(lines)


def table(measured: Measured) -> list[str]:
    """Every server and the two bounds."""
    connections = measured.subject.connections
    lines = [
        f"{measured.subject.seconds:g} s for each number of connections.",
        "",
        f"| server | requests/s at {', '.join(map(str, connections))} | per server-CPU-second at {COMPARED} | "
        f"p50 ms at 1 | p99 ms at {COMPARED} | errors | memory MB | ready s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (*measured.rows, measured.http_alone):
        if row.reason:
            lines.append(f"| {row.name} | {row.reason} | | | | | | |")
            continue
        rates = ", ".join(_rate(row.results[number]["rate"]) for number in connections)
        wrong = sum(result["wrong"] for result in row.results.values())
        at = row.results[COMPARED]
        lines.append(
            f"| {row.name} | {rates} | {_rate(at['per_cpu_second'])} | {row.results[1]['p50']:.2f} | {at['p99']:.1f} | "
            f"{wrong} | {row.memory_mb:.0f} | {row.ready_seconds:.2f} |"
        )
    for name, bound in (("bound, Pillow", measured.pillow), ("bound, the decoder in use", measured.decoder)):
        lines.append(
            f"| {name}, batch {bound.batch} | {_rate(bound.rate)} | {_rate(bound.per_cpu_second)} | "
            f"{bound.alone_ms:.2f} | | | | |"
        )
    return lines


def verdicts(measured: Measured) -> list[str]:
    """The targets, each with whether it is reached."""
    found = targets(measured)
    if not found:
        return []
    return ["| target | measured | aim | |", "|---|---|---|---|", *map(str, found)]


def targets(measured: Measured) -> list[Target]:
    """What this run says of each target; none without our own row."""
    rows = {row.name: row for row in measured.rows if row.results}
    ours = rows.pop(OURS, None)
    if ours is None:
        return []
    per_second = "per server-CPU-second, × the bound"
    http = measured.http_alone.results
    left = 1 / (1 + measured.decoder.per_cpu_second / max(result["per_cpu_second"] for result in http.values()))
    found = [
        Target(f"{per_second} with Pillow", most(ours, "of_pillow"), 0.95, at_least=True),
        Target(
            f"{per_second} with the decoder in use; HTTP alone leaves {left:.2f}",
            most(ours, "of_decoder"), measured.subject.decoder_target, at_least=True,
        ),
    ]  # fmt: skip
    if measured.subject.shipped:
        found += [
            Target(
                f"one connection, p50 over the bound at batch 1; HTTP alone takes {http[1]['p50']:.2f} ms",
                ours.results[1]["over_ms"], 0.3, " ms",
            ),
            Target("start to ready", ours.ready_seconds, 2.0, " s"),
            Target("memory with all shipped bundles", ours.memory_mb, 150.0, " MB"),
        ]  # fmt: skip
    return found + (_against_peers(measured, ours, list(rows.values())) if rows else [])


def most(row: Row, figure: str) -> float:
    """The largest of a figure over all numbers of connections."""
    return max(float(result[figure]) for result in row.results.values())


def _against_peers(measured: Measured, ours: Row, peers: list[Row]) -> list[Target]:
    fastest = max(peers, key=lambda row: row.results[COMPARED]["rate"])
    steadiest = min(peers, key=lambda row: row.results[COMPARED]["p99"])
    smallest = min(peers, key=lambda row: row.memory_mb)
    at = ours.results[COMPARED]
    best = fastest.results[COMPARED]["rate"]
    wanted = 2.5 if measured.subject.shipped else 1.0
    return [
        Target(
            f"requests/s, × the best peer's ({fastest.name}); the bound itself has {measured.decoder.rate / best:.2f}, "
            f"with HTTP alone and the load generator on the same cores {_ceiling(measured, ours) / best:.2f}",
            at["rate"] / best, wanted, at_least=True,
        ),
        Target(f"p99 below every peer's ({steadiest.name})", at["p99"], steadiest.results[COMPARED]["p99"], " ms"),
        Target(
            f"memory with this bundle alone, below every peer's ({smallest.name})",
            measured.memory_alone, smallest.memory_mb, " MB",
        ),
    ]  # fmt: skip


def _ceiling(measured: Measured, ours: Row) -> float:
    """Requests per second if these cores did nothing but the bound's work, HTTP, and the generator's part."""
    cores = measured.decoder.rate / measured.decoder.per_cpu_second
    http = 1 / measured.http_alone.results[COMPARED]["per_cpu_second"]
    generator = 1e-6 * ours.results[COMPARED]["own_cpu"]
    return cores / (1 / measured.decoder.per_cpu_second + http + generator)


def profile_table(measured: Measured) -> list[str]:
    """Where the service's CPU time goes, and what would have to go for the bound's share."""
    total = sum(measured.profile.values())
    bounds = {"Pillow": measured.pillow, "the decoder in use": measured.decoder}
    limits = ", ".join(f"{1e6 / bound.per_cpu_second:,.0f} µs with {name}" for name, bound in bounds.items())
    lines = [
        f"CPU time of one request at {COMPARED} connections, clocks around the parts (the bound needs {limits}):",
        "",
        "| part | µs | share |",
        "|---|---|---|",
    ]
    lines += [f"| {part} | {value:,.0f} | {value / total:.1%} |" for part, value in sorted(measured.profile.items())]
    return [*lines, f"| together | {total:,.0f} | |"]


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
