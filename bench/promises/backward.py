"""Promise 10: predictions at half of capacity, alone, then with one backward pass among twenty requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.promises.bundles import IMAGES, SHIPPED
from bench.promises.findings import Finding, at_most, exactly
from bench.promises.load import Answer, closed_loop, open_loop, percentile, post, throughput
from bench.promises.metrics import Metrics, all_ready, wait_until
from bench.replicas import replicas

EVERY = 20
ROUNDS, SECONDS = 3, 6.0
MODEL = "resnet20"
RUN = "contraflow_run_duration_seconds"


def measure() -> Iterator[Finding]:
    """In turns, so that both see the same machine."""
    flags = ("--default-model", MODEL, "--diagnostics-at-start", "true", "--log-level", "error")
    with replicas(1, SHIPPED, *flags) as (service,):
        wait_until(lambda: all_ready(service.port))
        image = (IMAGES / "cat.jpg").read_bytes()
        forward, backward = post("/predict", image), post("/diagnostics/gradients", image)
        mixed = [backward] + [forward] * (EVERY - 1)
        asyncio.run(closed_loop(service.port, mixed, 8, 2.0))
        rate = throughput(asyncio.run(closed_loop(service.port, [forward], 16, 3.0))) / 2
        alone: list[Answer] = []
        among: list[Answer] = []
        before = Metrics(service.port)
        for _ in range(ROUNDS):
            alone += asyncio.run(open_loop(service.port, [forward], rate, SECONDS, 5.0, 64))
            among += asyncio.run(open_loop(service.port, mixed, rate, SECONDS, 5.0, 64))
        chunk = _chunk(before, Metrics(service.port))
    yield from judged(alone, among, rate, chunk)


def judged(alone: list[Answer], among: list[Answer], rate: float, chunk: float) -> Iterator[Finding]:
    forwards = [answer for answer in among if answer.number % EVERY]
    backwards = [answer for answer in among if not answer.number % EVERY]
    without, with_backward = percentile(alone, 99), percentile(forwards, 99)
    yield Finding("asked for", f"{rate:.0f} requests/s, half of what forwards alone reach")
    yield Finding("forward p50 and p99 alone", f"{percentile(alone, 50):.2f} and {without:.2f} ms")
    yield Finding(
        "forward p50 and p99 with one backward in 20", f"{percentile(forwards, 50):.2f} and {with_backward:.2f} ms"
    )
    yield Finding("backward p50 and p99", f"{percentile(backwards, 50):.2f} and {percentile(backwards, 99):.2f} ms")
    yield at_most(
        "forward p99 raised by (limit: the longest backward run between two looks at the queue)",
        with_backward - without,
        chunk,
        "ms",
    )
    yield exactly("answers that were not 200", sum(answer.status != 200 for answer in [*alone, *among]), 0)


def _chunk(before: Metrics, after: Metrics) -> float:
    """Milliseconds of one run of the backward graph, on average."""

    def grown(name: str) -> float:
        return after.total(name, graph="weight_norms") - before.total(name, graph="weight_norms")

    return 1e3 * grown(f"{RUN}_sum") / max(1.0, grown(f"{RUN}_count"))
