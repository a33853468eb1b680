"""The loss of one of two replicas under load, as its clients see it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from bench.harness.load import closed_loop
from bench.harness.proxy import balancer
from bench.harness.server import services
from bench.scaling.comparison import ONE_SLOT

CLIENTS = 16


@dataclass(frozen=True)
class Killed:
    """Requests as the clients saw them."""

    requests: int
    failed: int
    longest: float
    """Seconds."""


def kill_one(bundles: Path, request: bytes, seconds: float) -> Killed:
    """Send SIGKILL to one of two replicas in the middle of a load."""
    with services(2, bundles, *ONE_SLOT) as pair, balancer([replica.port for replica in pair]) as proxy:
        threading.Timer(seconds / 2, pair[0].process.kill).start()
        replies = closed_loop(proxy.port, [request], CLIENTS, seconds)
    failed = sum(reply.status != 200 for reply in replies)
    return Killed(len(replies), failed, max(reply.seconds for reply in replies))
