"""Promise 10: predictions at a quarter and half of capacity, alone, and with one backward pass in twenty requests.

At half of capacity nothing is promised about the delay: docs/reports/known-limits.md has it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness.client import Reply, post
from bench.harness.figures import Figure, at_most, exactly
from bench.harness.load import closed_loop, open_loop, percentile, throughput
from bench.harness.paths import CAT, SHIPPED
from bench.harness.readings import Metrics
from bench.harness.server import service

EVERY = 20
ROUNDS, SECONDS = 6, 4.0
"""Each round has its own rate, by the capacity of that moment, and its own arrivals, the same for both."""
PROMISED, BEYOND = 0.25, 0.5
"""Rates, as shares of the rate that predictions alone reach: the one that the promise is for, and one above it."""
RUN = "contraflow_run_duration_seconds"


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Compare the two loads at each rate."""
    image = CAT.read_bytes()
    forward, backward = post("/predict", image), post("/diagnostics/gradients", image)
    mixed = [backward] + [forward] * (EVERY - 1)
    with service(SHIPPED, "--default-model", "resnet20") as server:
        closed_loop(server.port, [backward], 1, 0.1)  # loads its graph, so that nothing is loaded afterwards
        closed_loop(server.port, mixed, 8, 2.0 * scale)
        for share in (PROMISED, BEYOND):
            yield from raised(server.port, forward, mixed, share, scale)


def raised(port: int, forward: bytes, mixed: list[bytes], share: float, scale: float) -> Iterator[Figure]:
    """Measure predictions alone and among backward passes in turns, so that both see the same machine."""
    alone: list[Reply] = []
    among: list[Reply] = []
    rates: list[float] = []
    before = Metrics(port)
    for seed in range(max(1, round(ROUNDS * scale))):
        rate = share * throughput(closed_loop(port, [forward], 16, 1.5 * scale))
        alone += open_loop(port, [forward], rate, SECONDS * scale, patience=5.0, seed=seed)
        among += open_loop(port, mixed, rate, SECONDS * scale, patience=5.0, seed=seed)
        rates.append(rate)
    forwards = [reply for reply in among if reply.number % EVERY]
    backwards = [reply for reply in among if not reply.number % EVERY]
    without, with_backward = percentile(alone, 99), percentile(forwards, 99)
    load = f"{share:.0%} of capacity ({min(rates):.0f} to {max(rates):.0f} requests/s)"
    yield Figure(f"{load}: forward p99", f"{without:.2f} ms alone, {with_backward:.2f} ms with one backward in {EVERY}")
    times = f"{percentile(backwards, 50):.2f} and {percentile(backwards, 99):.2f} ms"
    yield Figure(f"{load}: backward p50 and p99", times)
    run, more = one_backward_run(before, Metrics(port)), with_backward - without
    if share > PROMISED:
        yield Figure(f"{load}: raised by; one run of the backward graph takes {run:.3g} ms", f"{more:.3g} ms")
    else:
        yield at_most(f"{load}: raised by, limit: one run of the backward graph", more, run, "ms")
    wrong = sum(reply.status != 200 for reply in [*alone, *among])
    yield exactly(f"{load}: answers that were not 200", wrong, 0)


def one_backward_run(before: Metrics, after: Metrics) -> float:
    """Return the mean milliseconds of one run of the backward graph."""
    seconds, runs = (after.grown_since(before, f"{RUN}_{part}", graph="weight_norms") for part in ("sum", "count"))
    return 1e3 * seconds / max(1.0, runs)
