"""Promise 10: predictions at a quarter and half of capacity, alone, and with one backward pass in twenty requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.promises.bundles import IMAGES, SHIPPED
from bench.promises.findings import Finding, at_most, exactly
from bench.promises.load import Answer, closed_loop, open_loop, percentile, post, throughput
from bench.promises.metrics import Metrics, all_ready, wait_until
from bench.replicas import Replica, replicas

EVERY = 20
ROUNDS, SECONDS = 6, 4.0
"""Each round has a rate by the capacity of that moment, and arrivals of its own, the same for both."""
SHARES = (0.25, 0.5)
"""Of the rate that predictions alone reach."""
MODEL = "resnet20"
RUN = "contraflow_run_duration_seconds"


def measure() -> Iterator[Finding]:
    """Both loads."""
    with replicas(1, SHIPPED, "--default-model", MODEL, "--log-level", "error") as (service,):
        wait_until(lambda: all_ready(service.port))
        image = (IMAGES / "cat.jpg").read_bytes()
        forward, backward = post("/predict", image), post("/diagnostics/gradients", image)
        mixed = [backward] + [forward] * (EVERY - 1)
        asyncio.run(closed_loop(service.port, [backward], 1, 0.1))  # loads its graph, and nothing goes on loading
        asyncio.run(closed_loop(service.port, mixed, 8, 2.0))
        for share in SHARES:
            yield from raised(service, forward, mixed, share)


def raised(service: Replica, forward: bytes, mixed: list[bytes], share: float) -> Iterator[Finding]:
    """Alone and mixed in turns, so that both see the same machine."""
    alone: list[Answer] = []
    among: list[Answer] = []
    rates: list[float] = []
    before = Metrics(service.port)
    for seed in range(ROUNDS):
        rate = share * throughput(asyncio.run(closed_loop(service.port, [forward], 16, 1.5)))
        alone += asyncio.run(open_loop(service.port, [forward], rate, SECONDS, 5.0, 64, seed))
        among += asyncio.run(open_loop(service.port, mixed, rate, SECONDS, 5.0, 64, seed))
        rates.append(rate)
    chunk = _chunk(before, Metrics(service.port))
    forwards = [answer for answer in among if answer.number % EVERY]
    backwards = [answer for answer in among if not answer.number % EVERY]
    without, raised_to = percentile(alone, 99), percentile(forwards, 99)
    load = f"{share:.0%} of capacity ({min(rates):.0f} to {max(rates):.0f} requests/s)"
    figures = f"{without:.2f} ms alone, {raised_to:.2f} ms with one backward in {EVERY}"
    yield Finding(f"{load}: forward p99", figures)
    yield Finding(
        f"{load}: backward p50 and p99", f"{percentile(backwards, 50):.2f} and {percentile(backwards, 99):.2f} ms"
    )
    yield at_most(f"{load}: raised by, limit: one run of the backward graph", raised_to - without, chunk, "ms")
    yield exactly(f"{load}: answers that were not 200", sum(answer.status != 200 for answer in [*alone, *among]), 0)


def _chunk(before: Metrics, after: Metrics) -> float:
    """Milliseconds of one run of the backward graph, on average."""

    def grown(name: str) -> float:
        return after.total(name, graph="weight_norms") - before.total(name, graph="weight_norms")

    return 1e3 * grown(f"{RUN}_sum") / max(1.0, grown(f"{RUN}_count"))
