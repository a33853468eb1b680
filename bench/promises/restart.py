"""Promise 4 with many bundles: one process takes over from another while clients ask for every model in turn.

As an orchestrator does it: the new process gets requests once it says that it is ready, and the old one SIGTERM.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.bundles.copies import distinct
from bench.harness.client import Reply, post
from bench.harness.figures import Figure, exactly
from bench.harness.load import Traffic, closed_loop
from bench.harness.paths import CAT, SHIPPED
from bench.harness.readings import says_ready
from bench.harness.server import service

BUNDLES = 50
CLIENTS = 4
FLAGS = ("--drain-delay", "1")
AFTERWARDS = 2.0
"""Seconds that clients go on after the old process has ended."""


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Restart the service, then judge what the clients saw of it."""
    names = [f"net{number:02}" for number in range(max(3, round(BUNDLES * scale)))]
    requests = [post(f"/predict?top_k=1&model={name}", CAT.read_bytes()) for name in names]
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary)
        for number, name in enumerate(names):
            distinct(SHIPPED / "resnet20", bundles / name, number)
        with (
            service(bundles, *FLAGS) as old,
            Traffic(old.port, requests, CLIENTS, fresh=True) as traffic,
            service(bundles, *FLAGS, ready=says_ready) as new,
        ):
            memory = new.resident_bytes()
            first = closed_loop(new.port, requests, len(names), 0.0)  # every model at once, before anything else
            traffic.port = new.port
            old.process.terminate()
            status = old.process.wait(60)
            time.sleep(AFTERWARDS)
            traffic.stop()
    served = {model_of(reply, names) for reply in first} - {None}
    wrong = sum(model_of(reply, names) is None for reply in traffic.replies)
    yield Figure("restarted under load", f"{len(names)} bundles, {len(traffic.replies):,} requests for all in turns")
    ready = f"{new.ready_seconds:.1f} s, {memory / 2**20:.0f} MiB"
    yield Figure("the new process: ready within, and its memory then", ready)
    yield exactly("models that answered right as soon as it was ready", len(served), len(names))
    yield exactly("answers that were not 200 by the model asked for", wrong, 0)
    yield exactly("exit status of the old process", status, 0)


def model_of(reply: Reply, names: Sequence[str]) -> str | None:
    """Return the model that answered, if it is the one that was asked."""
    asked = names[reply.number % len(names)]
    return asked if reply.status == 200 and json.loads(reply.body)["model"] == asked else None
