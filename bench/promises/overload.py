"""Promise 3: an open-loop generator asks for four times what the service can do."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.promises.bundles import IMAGES, enlarged
from bench.promises.findings import Finding, at_least, at_most, exactly
from bench.promises.load import Answer, closed_loop, open_loop, percentile, post, throughput
from bench.replicas import Replica, replicas

SIDE = 96
DEADLINE = 1.0
CAPACITY_CLIENTS = 16
CAPACITY_SECONDS = 10.0
OVERLOAD_SECONDS = 20.0
TIMES = 4


def measure() -> Iterator[Finding]:
    """Capacity by a closed loop, then four times as many requests as that."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary) / "bundles"
        enlarged(bundles, SIDE)
        with replicas(1, bundles, "--log-level", "error") as (service,):
            yield from overload(service)


def overload(service: Replica) -> Iterator[Finding]:
    image = (IMAGES / "cat.jpg").read_bytes()
    patient, hurried = post("/predict", image), post("/predict", image, f"X-Deadline-Ms: {1e3 * DEADLINE:.0f}")
    asyncio.run(closed_loop(service.port, [patient], CAPACITY_CLIENTS, 2.0))
    before = asyncio.run(closed_loop(service.port, [patient], CAPACITY_CLIENTS, CAPACITY_SECONDS / 2))
    rate = TIMES * throughput(before)
    process = psutil.Process(service.process.pid)
    asyncio.run(open_loop(service.port, [hurried], rate, 3.0, 2 * DEADLINE))
    memory = process.memory_info().rss
    answers = asyncio.run(open_loop(service.port, [hurried], rate, OVERLOAD_SECONDS, 2 * DEADLINE))
    growth = process.memory_info().rss - memory
    after = asyncio.run(closed_loop(service.port, [patient], CAPACITY_CLIENTS, CAPACITY_SECONDS / 2))
    capacity = (throughput(before) + throughput(after)) / 2
    yield Finding("capacity (closed loop, before and after)", f"{capacity:.1f} images/s, {1e3 / capacity:.1f} ms each")
    yield Finding("asked for (open loop)", f"{rate:.0f} requests/s, {len(answers):,} in all")
    yield from judged(answers, capacity)
    yield at_most("memory grown meanwhile", max(0.0, growth / 2**20), 8.0, "MiB")


def judged(answers: list[Answer], capacity: float) -> Iterator[Finding]:
    accepted = [answer for answer in answers if answer.status in (200, 504)]
    in_time = [answer for answer in accepted if answer.status == 200 and answer.seconds <= DEADLINE]
    refused = [answer for answer in answers if answer.status == 503]
    yield at_least("goodput, of capacity", throughput(in_time) / capacity, 0.95)
    yield at_least("accepted that met their deadline (1 s)", 100 * len(in_time) / max(1, len(accepted)), 99, "%")
    yield at_most("refusals: half of them within", percentile(refused, 50), 5, "ms")
    yield at_most("refusals: 99 % of them within", percentile(refused, 99), 50, "ms")
    yield exactly("refusals without Retry-After", sum(answer.retry_after is None for answer in refused), 0)
    yield exactly("answers of any other kind", len(answers) - len(accepted) - len(refused), 0)
