"""The targets, each judged by the figures of a run."""

from __future__ import annotations

from bench.harness.figures import Figure, at_least, at_most
from bench.serving.results import COMPARED, Measured, Row

OURS = "Contraflow"
PER_SECOND = "per server-CPU-second, × the bound"


def targets(measured: Measured) -> list[Figure]:
    """Judge each target; there is none to judge without our own row."""
    rows = {row.name: row for row in measured.rows if row.results}
    ours = rows.pop(OURS, None)
    if ours is None:
        return []
    found = beside_bounds(measured, ours)
    if measured.subject.shipped:
        found += alone(measured, ours)
    return found + (beside_peers(measured, ours, list(rows.values())) if rows else [])


def beside_bounds(measured: Measured, ours: Row) -> list[Figure]:
    http = max(result["per_cpu_second"] for result in measured.http_alone.results.values())
    left = f"with the decoder in use; HTTP alone leaves {1 / (1 + measured.decoder.per_cpu_second / http):.2f}"
    aim = measured.subject.decoder_target
    return [
        at_least(f"{PER_SECOND} with Pillow", ours.most("of_pillow"), 0.95),
        at_least(f"{PER_SECOND} {left}", ours.most("of_decoder"), aim),
    ]


def alone(measured: Measured, ours: Row) -> list[Figure]:
    http = f"HTTP alone takes {measured.http_alone.results[1]['p50']:.2f} ms"
    over = ours.results[1]["over_ms"]
    return [
        at_most(f"one connection, p50 over the bound at batch 1; {http}", over, 0.3, "ms"),
        at_most("start to ready", ours.ready_seconds, 2.0, "s"),
        at_most("memory with all shipped bundles", ours.memory_mb, 150.0, "MB"),
    ]


def beside_peers(measured: Measured, ours: Row, peers: list[Row]) -> list[Figure]:
    fastest = max(peers, key=lambda row: row.results[COMPARED]["rate"])
    steadiest = min(peers, key=lambda row: row.results[COMPARED]["p99"])
    smallest = min(peers, key=lambda row: row.memory_mb)
    quickest = min(peers, key=lambda row: row.results[1]["p50"])
    at, best = ours.results[COMPARED], fastest.results[COMPARED]["rate"]
    possible = f"the bound itself has {measured.decoder.rate / best:.2f}, with HTTP alone and the load generator "
    possible += f"on the same cores {ceiling(measured, ours) / best:.2f}"
    aim = 2.5 if measured.subject.shipped else 1.0
    one_bundle = f"memory with this bundle alone, below every peer's ({smallest.name})"
    slowest = steadiest.results[COMPARED]["p99"]
    return [
        at_least(f"requests/s, × the best peer's ({fastest.name}); {possible}", at["rate"] / best, aim),
        at_most(
            f"one connection, p50 below every peer's ({quickest.name})",
            ours.results[1]["p50"],
            quickest.results[1]["p50"],
            "ms",
        ),
        at_most(f"p99 below every peer's ({steadiest.name})", at["p99"], slowest, "ms"),
        at_most(one_bundle, measured.memory_alone, smallest.memory_mb, "MB"),
    ]


def ceiling(measured: Measured, ours: Row) -> float:
    """Return requests per second if the cores did nothing but the bound's work, HTTP, and the generator's part."""
    cores = measured.decoder.rate / measured.decoder.per_cpu_second
    http = 1 / measured.http_alone.results[COMPARED]["per_cpu_second"]
    generator = 1e-6 * ours.results[COMPARED]["own_cpu"]
    return cores / (1 / measured.decoder.per_cpu_second + http + generator)
