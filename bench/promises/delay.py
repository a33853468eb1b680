"""Promise 2: one client, with batching and without, in turns."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator

from bench.harness.client import post
from bench.harness.figures import Figure, at_most
from bench.harness.load import closed_loop, percentile
from bench.harness.paths import CAT, SHIPPED
from bench.harness.server import service
from bench.serving import bound

ROUNDS, SECONDS = 6, 1.5
FLAGS = ("--default-model", "resnet20")


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Compare the median times of the two services; what is promised is the median of the rounds' differences."""
    request = [post("/predict?model=resnet20", CAT.read_bytes())]
    with service(SHIPPED, *FLAGS) as batching, service(SHIPPED, *FLAGS, "--max-batch", "1") as single:
        rounds = [
            [percentile(closed_loop(server.port, request, 1, SECONDS * scale), 50) for server in (batching, single)]
            for _ in range(max(1, round(ROUNDS * scale)) + 1)
        ]
    del rounds[0]  # the first one warms up
    with_batching, without = (statistics.median(times) for times in zip(*rounds, strict=True))
    yield Figure("p50 at one client, batching", f"{with_batching:.3f} ms")
    yield Figure("p50 at one client, batching off", f"{without:.3f} ms")
    yield at_most("added by batching", statistics.median(first - second for first, second in rounds), 0.3, "ms")
    os.environ["BENCH_BUNDLE"] = str(SHIPPED / "resnet20")
    *_, alone_ms = bound.measure(bound.service_loop, [CAT.read_bytes()], 1, 1, SECONDS * scale)
    yield Figure("decode and run alone, in a process, without HTTP", f"{alone_ms:.3f} ms")
