"""Promise 1: fifty requests wait behind a long run, and forty of their clients go, in three ways."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.bundles.copies import enlarged, install
from bench.harness.client import Client, post, run
from bench.harness.figures import Figure, at_most, exactly
from bench.harness.paths import CAT, SHIPPED
from bench.harness.readings import IMAGES_RUN, REQUESTS, RUNS_IN_PROGRESS, Metrics, wait_until
from bench.harness.server import service

SIDE = 448
"""Pixels of a side: half a second and more for each picture."""
QUEUED, GONE = 50, 40
QUEUED_IMAGES = "contraflow_queued_images"
WAYS: tuple[Callable[[Client], None], ...] = (
    lambda client: client.close(reset=True),
    Client.close,
    Client.shut_sending_side,
)


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Leave the queue, then a run in progress. There is no smaller form of it."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary) / "bundles"
        enlarged(bundles, SIDE)
        install(SHIPPED / "resnet20", bundles / "resnet20")
        with service(bundles, "--run-threads", "1") as server:
            yield from run(leave_queue(server.port))
            yield from run(leave_run(server.port))


async def leave_queue(port: int) -> list[Figure]:
    before = Metrics(port)
    blocker = await ask(port, "large")
    await until(lambda: Metrics(port).total(RUNS_IN_PROGRESS) == 1)
    clients = [await ask(port, "resnet20") for _ in range(QUEUED)]
    await until(lambda: Metrics(port).total(QUEUED_IMAGES) == QUEUED)
    for number, client in enumerate(clients[:GONE]):
        WAYS[number % len(WAYS)](client)
    stayed = [*clients[GONE:], blocker]
    answers = [await client.answer() for client in stayed]
    await until(lambda: Metrics(port).total(RUNS_IN_PROGRESS) == 0)
    after = Metrics(port)
    for client in (*clients, blocker):
        client.close(reset=True)
    ran, cancelled = after.grown_since(before, IMAGES_RUN), after.grown_since(before, REQUESTS, outcome="cancelled")
    answered = sum(head.startswith(b"HTTP/1.1 200") for head, _ in answers)
    return [
        exactly("images run, of 50 queued behind 1 (40 gone: reset, closed, half closed)", ran, QUEUED - GONE + 1),
        exactly("requests counted as cancelled", cancelled, GONE),
        exactly("answered with 200", answered, QUEUED - GONE + 1),
        exactly("images still waiting", after.total(QUEUED_IMAGES), 0),
    ]


async def leave_run(port: int) -> list[Figure]:
    """Let one client with a long run go soon after it began."""
    began = time.monotonic()
    client = await ask(port, "large")
    await client.answer()
    whole = time.monotonic() - began
    await client.send(request_for("large"))
    await until(lambda: Metrics(port).total(RUNS_IN_PROGRESS) == 1)
    client.close(reset=True)
    gone = time.monotonic()
    await until(lambda: Metrics(port).total(RUNS_IN_PROGRESS) == 0)
    rest = time.monotonic() - gone
    stopped = Metrics(port).total("contraflow_runs_stopped_total")
    went_on = f"a run of {1e3 * whole:.0f} ms went on after its client had gone for"
    return [exactly("runs stopped once nobody waited", stopped, 1), at_most(went_on, 1e3 * rest, 500 * whole, "ms")]


async def ask(port: int, model: str) -> Client:
    """Send a request and return its client, who has not been answered."""
    client = Client(port)
    await client.send(request_for(model))
    return client


def request_for(model: str) -> bytes:
    return post(f"/predict?model={model}", CAT.read_bytes())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition` without holding up the clients."""
    await asyncio.to_thread(wait_until, condition)
