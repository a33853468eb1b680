"""Load of two kinds: closed (a client's next request follows its last answer) and open (requests come regardless)."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from bench.harness.client import BROKEN, Client, Reply, run

PATIENCE = 60.0
"""Seconds after the end of a load for which the answers of what was sent are waited for."""
RETRY_SECONDS = 0.02
"""Pause of a client whose request was not answered."""


class Traffic(AbstractContextManager["Traffic"]):
    """A closed loop in a thread of its own for as long as the context lasts: clients that ask for requests in turn.

    Clients connect to `port`, which may change meanwhile: a kept connection goes on until its server ends it.
    """

    def __init__(
        self, port: int, requests: Sequence[bytes], clients: int = 1, *, pause: float = 0.0, fresh: bool = False
    ) -> None:
        """Prepare the load; `fresh` makes every second client open a connection for each request."""
        self.port = port
        self.replies: list[Reply] = []
        self._requests, self._clients, self._pause, self._fresh = requests, clients, pause, fresh
        self._turn = itertools.count()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.play, args=(self._ended.is_set,))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the load, and wait until every client has been answered."""
        self._ended.set()
        self._thread.join()

    def play(self, ended: Callable[[], bool]) -> None:
        """Ask until `ended`, at least once for each client; what is not answered `PATIENCE` later is given up."""
        run(self._play(ended))

    async def _play(self, ended: Callable[[], bool]) -> None:
        tasks = {
            asyncio.create_task(self._client(ended, kept=not self._fresh or number % 2 == 0))
            for number in range(self._clients)
        }
        give_up = math.inf
        while tasks and time.monotonic() < give_up:
            done, tasks = await asyncio.wait(tasks, timeout=0.1)
            for task in done:
                task.result()
            if ended():
                give_up = min(give_up, time.monotonic() + PATIENCE)
        for _ in tasks:
            self.received(Reply(-1, give_up - PATIENCE, PATIENCE, BROKEN))

    async def _client(self, ended: Callable[[], bool], kept: bool) -> None:
        client = Client(self.port)
        try:
            while True:
                client.port, number = self.port, next(self._turn)
                reply = await client.ask(self._requests[number % len(self._requests)], number)
                self.received(reply)
                if ended():
                    return
                if not kept:
                    client.close()
                if pause := self._pause or (RETRY_SECONDS if reply.status == BROKEN else 0.0):
                    await asyncio.sleep(pause)
        finally:
            client.close()

    def received(self, reply: Reply) -> None:
        """Keep a reply. A load too long for that overrides it."""
        self.replies.append(reply)


def closed_loop(
    port: int, requests: Sequence[bytes], clients: int, seconds: float, *, pause: float = 0.0
) -> list[Reply]:
    """Let `clients` ask for the requests in turn for `seconds`, each `pause` seconds after its last answer."""
    traffic = Traffic(port, requests, clients, pause=pause)
    traffic.play(lasting(seconds))
    return traffic.replies


def lasting(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether `seconds` from now have passed."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def open_loop(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    *,
    connections: int = 64,
    patience: float = PATIENCE,
    seed: int = 0,
) -> list[Reply]:
    """Ask for the requests in turn at `rate` per second on average (Poisson), whether or not the last were answered.

    A reply's time counts from when its request was due, so that a generator that is late, or held up, flatters
    nobody. A request that finds no free connection is not sent, and one that is not answered `patience` seconds
    after the end is given up: both have the status `BROKEN`.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, max(1, round(rate * seconds)))
    replies: dict[int, Reply] = {}
    clients = [Client(port) for _ in range(connections)]
    idle = list(clients)

    async def one(client: Client, number: int, due: float) -> None:
        replies[number] = await client.ask(requests[number % len(requests)], number, due)
        idle.append(client)

    async def play() -> None:
        await asyncio.gather(*(client.send() for client in clients))
        asked = set()
        for number, due in enumerate((time.monotonic() + np.cumsum(gaps)).tolist()):
            replies[number] = Reply(number, due, 0.0, BROKEN)
            while (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if idle:
                task = asyncio.create_task(one(idle.pop(), number, due))
                asked.add(task)
                task.add_done_callback(asked.discard)
        if asked:
            await asyncio.wait(asked, timeout=patience)
        for client in clients:
            client.close(reset=True)

    run(play())
    return list(replies.values())


def throughput(replies: Sequence[Reply]) -> float:
    """Return replies per second, from the first request to the last answer."""
    if not replies:
        return 0.0
    end = max(reply.sent + reply.seconds for reply in replies)
    return len(replies) / (end - min(reply.sent for reply in replies))


def percentile(replies: Sequence[Reply], percent: float) -> float:
    """Return a percentile of the times to an answer in milliseconds; infinity if there is no answer."""
    return 1e3 * float(np.percentile([reply.seconds for reply in replies] or [np.inf], percent))
