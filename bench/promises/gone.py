"""Promise 1: fifty requests wait behind a long run, and forty of their clients go, in three ways."""

from __future__ import annotations

import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.promises.bundles import IMAGES, SHIPPED, enlarged, install
from bench.promises.findings import Finding, at_most, exactly
from bench.promises.load import post
from bench.promises.metrics import Metrics, wait_until
from bench.replicas import Replica, replicas

SIDE = 448
"""Half a second and more per picture."""
QUEUED, GONE = 50, 40
WAYS = ("reset", "closed in order", "half closed")


def measure() -> Iterator[Finding]:
    """The queue, then a run in progress."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary) / "bundles"
        enlarged(bundles, SIDE)
        install(SHIPPED / "resnet20", bundles / "resnet20")
        with replicas(1, bundles, "--run-threads", "1", "--log-level", "error") as (service,):
            wait_until(lambda: Metrics(service.port).total("contraflow_model_ready") == 2)
            yield from queue(service)
            yield from run(service)


def connect(port: int, model: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(post(f"/predict?model={model}", (IMAGES / "cat.jpg").read_bytes()))
    return connection


def leave(connection: socket.socket, way: str) -> None:
    if way == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    elif way == "half closed":
        connection.shutdown(socket.SHUT_WR)
    else:
        connection.close()


def queue(service: Replica) -> Iterator[Finding]:
    before = Metrics(service.port)
    blocker = connect(service.port, "large")
    wait_until(lambda: Metrics(service.port).total("contraflow_runs_in_progress") == 1)
    connections = [connect(service.port, "resnet20") for _ in range(QUEUED)]
    wait_until(lambda: Metrics(service.port).total("contraflow_queued_images") == QUEUED)
    for number, connection in enumerate(connections[:GONE]):
        leave(connection, WAYS[number % len(WAYS)])
    answered = sum(connection.recv(65536).startswith(b"HTTP/1.1 200") for connection in [*connections[GONE:], blocker])
    wait_until(lambda: Metrics(service.port).total("contraflow_runs_in_progress") == 0)
    after = Metrics(service.port)

    def grown(name: str, **labels: str) -> int:
        return round(after.total(name, **labels) - before.total(name, **labels))

    yield exactly("images run, of 50 queued behind 1 (40 gone: reset, closed, half closed)", grown(IMAGES_RUN), 11)
    yield exactly("requests counted as cancelled", grown(REQUESTS, outcome="cancelled"), GONE)
    yield exactly("answered with 200", answered, QUEUED - GONE + 1)
    yield exactly("images still waiting", round(after.total("contraflow_queued_images")), 0)


REQUESTS, IMAGES_RUN = "contraflow_requests_total", "contraflow_images_total"


def run(service: Replica) -> Iterator[Finding]:
    """One client with a long run, who goes soon after it began."""
    began = time.monotonic()
    connect(service.port, "large").recv(65536)
    whole = time.monotonic() - began
    connection = connect(service.port, "large")
    wait_until(lambda: Metrics(service.port).total("contraflow_runs_in_progress") == 1)
    leave(connection, "reset")
    gone = time.monotonic()
    wait_until(lambda: Metrics(service.port).total("contraflow_runs_in_progress") == 0)
    rest = time.monotonic() - gone
    yield exactly(
        "runs stopped once nobody waited", round(Metrics(service.port).total("contraflow_runs_stopped_total")), 1
    )
    yield at_most(f"a run of {1e3 * whole:.0f} ms went on after its client had gone for", 1e3 * rest, 500 * whole, "ms")
