"""Load from several processes at once, because one generator in Python may be slower than a service on a GPU."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench.harness.client import Reply, post
from bench.harness.load import Traffic
from bench.serving.generator import first_label_is

CORES_EACH = 4
"""Cores per generator: one of them sends, and the others are left to the service."""
LEAST_CONNECTIONS = 8
"""A process that has fewer costs more than it relieves the others."""
PREDICT = "/predict"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Window:
    """The time in which answers count, in seconds on the clock that all processes share (`time.monotonic`)."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        return self.begin <= moment < self.end


@dataclass
class Heard:
    """The answers that one generator heard within the window."""

    seconds: list[float] = field(default_factory=list)
    """From request to answer, of each right answer."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Other answers by what they are: a status, or "another label"."""
    busy: float = 0.0
    """Share of a core that the generator took. Near 1 it is the limit, not the service."""
    late: float = 0.0
    """Seconds after the window's begin at which the first request was sent."""


class HeardTraffic(Traffic):
    """A closed loop that keeps what was answered within a window."""

    def __init__(
        self, port: int, requests: Sequence[bytes], clients: int, window: Window, check: Callable[[int, bytes], bool]
    ) -> None:
        super().__init__(port, requests, clients)
        self._count, self._window, self._check = len(requests), window, check
        self.heard = Heard()

    def received(self, reply: Reply) -> None:
        if not self._window.holds(reply.sent + reply.seconds):
            return
        if reply.status != 200:
            self.heard.wrong[str(reply.status)] += 1
        elif self._check(reply.number % self._count, reply.body):
            self.heard.seconds.append(reply.seconds)
        else:
            self.heard.wrong["another label"] += 1


def hear(port: int, path: str, listing: str, connections: int, window: Window) -> Heard:
    """Ask from now to the end of the window, with the photographs that `listing` has beside their labels."""
    listed: list[tuple[str, str]] = json.loads(Path(listing).read_text())
    requests = [post(path, Path(file).read_bytes()) for file, _ in listed]
    check = first_label_is([label for _, label in listed]) if path == PREDICT else lambda number, body: True
    traffic = HeardTraffic(port, requests, connections, window, check)
    began, own = time.monotonic(), time.process_time()
    traffic.play(lambda: time.monotonic() >= window.end)
    heard = traffic.heard
    heard.busy = (time.process_time() - own) / (time.monotonic() - began)
    heard.late = max(0.0, began - window.begin)
    return heard


def _begin_together(together: Barrier) -> None:
    """Wait until every process is there, so that none takes the order of one that is late."""
    together.wait(START_SECONDS)


class Generators(AbstractContextManager["Generators"]):
    """Processes that send requests; they start once and serve every load."""

    def __init__(self) -> None:
        self.processes = max(1, len(os.sched_getaffinity(0)) // CORES_EACH)
        context = get_context("spawn")
        together = context.Barrier(self.processes)
        self._pool = ProcessPoolExecutor(self.processes, context, initializer=_begin_together, initargs=(together,))

    def __enter__(self) -> Generators:
        """Start all processes, none of which takes an order before all are there."""
        for started in [self._pool.submit(time.monotonic) for _ in range(self.processes)]:
            started.result()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def send(self, port: int, path: str, listing: Path, connections: int, window: Window) -> list[Future[Heard]]:
        """Divide `connections` among as many processes as gain by it."""
        count = min(self.processes, max(1, connections // LEAST_CONNECTIONS))
        shares = [connections // count + (number < connections % count) for number in range(count)]
        return [self._pool.submit(hear, port, path, str(listing), share, window) for share in shares]
