"""Promise 4 with many bundles: one process takes over from another while clients ask for every model in turn.

As an orchestrator does it: the new process gets requests once it says that it is ready, and the old one SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.promises.bundles import IMAGES, SHIPPED, renamed
from bench.promises.findings import Finding, exactly
from bench.promises.load import Answer, closed_loop, post
from bench.promises.versions import Clients
from bench.replicas import Replica, replicas

BUNDLES = 50
FLAGS = ("--drain-delay", "1", "--log-level", "error")
AFTERWARDS = 2.0
"""Seconds that clients go on after the old process has ended."""


def measure(bundles: int = BUNDLES) -> Iterator[Finding]:
    """The restart, then what the clients saw of it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(bundles):
            renamed(SHIPPED / "resnet20", folder / f"net{number:02}", number)
        with replicas(1, folder, *FLAGS) as (old,):
            yield from asyncio.run(_restarted(old, folder, bundles))


async def _restarted(old: Replica, folder: Path, bundles: int) -> list[Finding]:
    image = (IMAGES / "cat.jpg").read_bytes()
    requests = [post(f"/predict?top_k=1&model=net{number:02}", image) for number in range(bundles)]
    clients = Clients(old.port, requests)
    playing = asyncio.create_task(clients.play())
    began = time.monotonic()
    starting = replicas(1, folder, *FLAGS)
    (new,) = await asyncio.to_thread(starting.__enter__)
    ready = time.monotonic() - began
    try:
        memory = psutil.Process(new.process.pid).memory_info().rss
        first = await closed_loop(new.port, requests, bundles, 0.0)  # every model at once, before anything else
        clients.port = new.port
        old.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(old.process.wait, 60)
        await asyncio.sleep(AFTERWARDS)
        clients.stop.set()
        await playing
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)
    return list(_judged(first, clients.answers, bundles, ready, memory, status))


def _judged(
    first: list[Answer], answers: list[Answer], bundles: int, ready: float, memory: int, status: int
) -> Iterator[Finding]:
    yield Finding("restarted under load", f"{bundles} bundles, {len(answers):,} requests for all in turns")
    yield Finding("the new process: ready within, and its memory then", f"{ready:.1f} s, {memory / 2**20:.0f} MiB")
    yield exactly(
        "models that answered right as soon as it was ready", len({a.number for a in first if _right(a)}), bundles
    )
    yield exactly("answers that were not 200 by the model asked for", sum(not _right(answer) for answer in answers), 0)
    yield exactly("exit status of the old process", status, 0)


def _right(answer: Answer) -> bool:
    return answer.status == 200 and json.loads(answer.body)["model"] == f"net{answer.number:02}"
