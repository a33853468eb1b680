"""The capacity of one replica, and the loss of one of two."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness.client import Reply
from bench.harness.load import closed_loop, throughput
from bench.harness.proxy import balancer
from bench.harness.server import Server, service, services

CLIENTS = 32
CLIENTS_OF_TWO = 16
ONE_SLOT = ("--run-threads", "1", "--decode-threads", "1")


@dataclass(frozen=True)
class Capacity:
    """One replica with as many run slots as the machine has CPUs, and one nginx in front."""

    slots: int
    images_per_second: float
    """At saturation, with one image per request."""
    processor_seconds: float
    """CPU seconds of the replica per image."""
    balancer_seconds: float
    """CPU seconds of nginx per request."""
    request_bytes: int


def measure(bundles: Path, request: bytes, seconds: float) -> Capacity:
    """Saturate one replica, directly and behind nginx."""
    with service(bundles) as replica:
        closed_loop(replica.port, [request], 8, min(2.0, seconds))
        rate, processor = saturated(replica, request, seconds)
        with balancer([replica.port]) as proxy:
            _, balanced = saturated(proxy, request, seconds / 2)
    return Capacity(len(os.sched_getaffinity(0)), rate, processor, balanced, len(request))


def kill_one(bundles: Path, request: bytes, seconds: float) -> list[Reply]:
    """Send SIGKILL to one of two replicas in the middle of a load, and return what its clients saw."""
    with services(2, bundles, *ONE_SLOT) as pair, balancer([replica.port for replica in pair]) as proxy:
        threading.Timer(seconds / 2, pair[0].process.kill).start()
        return closed_loop(proxy.port, [request], CLIENTS_OF_TWO, seconds)


def saturated(server: Server, request: bytes, seconds: float) -> tuple[float, float]:
    """Return answers per second, and the CPU seconds of each."""
    before = server.processor_seconds()
    replies = require_success(closed_loop(server.port, [request], CLIENTS, seconds))
    return throughput(replies), (server.processor_seconds() - before) / len(replies)


def require_success(replies: Sequence[Reply]) -> Sequence[Reply]:
    """Return the replies.

    Raises:
        SystemExit: one has another status than 200.
    """
    statuses = Counter(reply.status for reply in replies)
    if set(statuses) != {200}:
        raise SystemExit(f"expected only 200, found {dict(statuses)}: does something else use the processors?")
    return replies
