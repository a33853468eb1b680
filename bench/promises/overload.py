"""Promise 3: an open-loop generator asks for four times what the service can do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.bundles.copies import enlarged
from bench.harness.client import Reply, post
from bench.harness.figures import Figure, at_least, at_most, exactly
from bench.harness.load import closed_loop, open_loop, percentile, throughput
from bench.harness.paths import CAT
from bench.harness.server import Server, service

SIDE = 96
DEADLINE = 1.0
CAPACITY_CLIENTS = 16
CAPACITY_SECONDS = 5.0
"""Length of each of the two measurements, before and after the overload."""
OVERLOAD_SECONDS = 20.0
TIMES = 4
CONNECTIONS = 800


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Measure the capacity by a closed loop, then ask for four times as much."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary) / "bundles"
        enlarged(bundles, SIDE)
        with service(bundles) as server:
            yield from overload(server, scale)


def overload(server: Server, scale: float) -> Iterator[Figure]:
    image = CAT.read_bytes()
    patient, hurried = [post("/predict", image)], [post("/predict", image, f"X-Deadline-Ms: {1e3 * DEADLINE:.0f}")]

    def capacity_now() -> float:
        return throughput(closed_loop(server.port, patient, CAPACITY_CLIENTS, CAPACITY_SECONDS * scale))

    def ask_too_much(seconds: float) -> list[Reply]:
        return open_loop(server.port, hurried, rate, seconds * scale, connections=CONNECTIONS, patience=2 * DEADLINE)

    closed_loop(server.port, patient, CAPACITY_CLIENTS, 2.0 * scale)
    before = capacity_now()
    rate = TIMES * before
    ask_too_much(3.0)
    memory = server.resident_bytes()
    replies = ask_too_much(OVERLOAD_SECONDS)
    growth = server.resident_bytes() - memory
    capacity = (before + capacity_now()) / 2
    yield Figure("capacity (closed loop, before and after)", f"{capacity:.1f} images/s, {1e3 / capacity:.1f} ms each")
    yield Figure("asked for (open loop)", f"{rate:.0f} requests/s, {len(replies):,} in all")
    yield from judged(replies, capacity)
    yield at_most("memory grown meanwhile", max(0.0, growth / 2**20), 8.0, "MiB")


def judged(replies: list[Reply], capacity: float) -> Iterator[Figure]:
    accepted = [reply for reply in replies if reply.status in (200, 504)]
    in_time = [reply for reply in accepted if reply.status == 200 and reply.seconds <= DEADLINE]
    refused = [reply for reply in replies if reply.status == 503]
    yield at_least("goodput, of capacity", throughput(in_time) / capacity, 0.95)
    yield at_least("accepted that met their deadline (1 s)", 100 * len(in_time) / max(1, len(accepted)), 99, "%")
    yield at_most("refusals: half of them within", percentile(refused, 50), 5, "ms")
    yield at_most("refusals: 99 % of them within", percentile(refused, 99), 50, "ms")
    yield exactly("refusals without Retry-After", sum(not reply.says_when_to_retry for reply in refused), 0)
    yield exactly("answers of any other kind", len(replies) - len(accepted) - len(refused), 0)
