"""Promise 2: one client, with batching and without, in turns."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.promises.bundles import IMAGES, SHIPPED
from bench.promises.findings import Finding, at_most
from bench.promises.load import closed_loop, percentile, post
from bench.replicas import replicas
from bench.serving import bound

ROUNDS, SECONDS = 6, 1.5
FLAGS = ("--default-model", "resnet20", "--log-level", "error")


def measure() -> Iterator[Finding]:
    """p50 of the two services, measured in turns; the median of the rounds' differences."""
    request = post("/predict?model=resnet20", (IMAGES / "cat.jpg").read_bytes())
    with ExitStack() as stack:
        (batching,) = stack.enter_context(replicas(1, SHIPPED, *FLAGS))
        (single,) = stack.enter_context(replicas(1, SHIPPED, *FLAGS, "--max-batch", "1"))
        halves: list[tuple[float, float]] = []
        for _ in range(ROUNDS + 1):
            pair = [asyncio.run(closed_loop(service.port, [request], 1, SECONDS)) for service in (batching, single)]
            halves.append((percentile(pair[0], 50), percentile(pair[1], 50)))
    del halves[0]  # warming up
    difference = statistics.median([first - second for first, second in halves])
    yield Finding("p50 at one client, batching", f"{statistics.median([first for first, _ in halves]):.3f} ms")
    yield Finding("p50 at one client, batching off", f"{statistics.median([second for _, second in halves]):.3f} ms")
    yield at_most("added by batching", difference, 0.3, "ms")
    yield Finding("decode and run alone, in a process, without HTTP", f"{_alone(SHIPPED / 'resnet20'):.3f} ms")


def _alone(bundle: Path) -> float:
    """Milliseconds of one image by `bench.serving.bound`, in this process."""
    os.environ["BENCH_BUNDLE"] = str(bundle)
    alone = bound.measure(bound.service_loop, [(IMAGES / "cat.jpg").read_bytes()], 1, 1, SECONDS)
    return float(alone["p50_ms"])
