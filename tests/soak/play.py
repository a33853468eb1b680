"""The soak itself: clients that send a shuffled deck of requests, while the folder is changed step by step."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.client import Client, run
from tests.soak.answers import StoredAnswers
from tests.soak.folder import GUEST, SWAPPED, Folder
from tests.soak.log import Log
from tests.soak.manners import ask
from tests.soak.requests import Kind, kinds
from tests.soak.server import ServerUnderTest, serving

CONNECTIONS = 16
REQUESTS_PER_ROUND = 10_000
"""Within so many requests every change of the folder is made once."""
LONGEST_CHANGE = 300.0
"""Seconds within which the service must follow a change of the folder."""
SAMPLES = 100

Models = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the folder, and how `GET /models` shows that the service has followed."""

    name: str
    make: Callable[[], None]
    seen: Callable[[Models], bool]


def changes(folder: Folder) -> list[Change]:
    """Return one round: every change once, ending as it began."""

    def serves(variant: str, refused: bool = False) -> Callable[[Models], bool]:
        digest = folder.digest(SWAPPED, variant)
        return lambda models: _served(models).get(SWAPPED) == digest and (SWAPPED in models["refused"]) == refused

    def swap(variant: str) -> Callable[[], None]:
        return lambda: folder.show(SWAPPED, variant)

    return [
        Change("swapped", swap("other"), serves("other")),
        Change("broken: a byte of a graph changed", swap("changed graph"), serves("other", refused=True)),
        Change("repaired and swapped", swap("one"), serves("one")),
        Change("removed", lambda: folder.take_away(GUEST), lambda models: GUEST not in _served(models)),
        Change("broken: description cut short", swap("cut description"), serves("one", refused=True)),
        Change("added", lambda: folder.show(GUEST, "one"), lambda models: GUEST in _served(models)),
        Change("broken: weights missing", swap("no weights"), serves("one", refused=True)),
        Change("repaired", swap("one"), serves("one")),
    ]


def _served(models: Models) -> dict[str, str]:
    """Return the digest of every model that is ready, by name."""
    return {model["name"]: model["bundle"] for model in models["models"] if model["ready"]}


class Soak:
    """One soak of `requests` requests, drawn with `seed`."""

    def __init__(
        self, folder: Folder, server: ServerUnderTest, requests: int, seed: int, most_pictures: int | None
    ) -> None:
        self._folder, self._server = folder, server
        self._random = random.Random(seed)
        self._stored = StoredAnswers()
        self.log = Log(kinds(folder.steady, most_pictures))
        self._deck = _deck(self.log.kinds, requests, self._random)
        self._requests = requests
        self._released = asyncio.Semaphore(0)

    async def run(self) -> Log:
        self.log.idle = self._server.megabytes()
        await self._store_answers()
        # In a thread of its own: what waits for connections to close must leave this loop free to close ours.
        first, before = await asyncio.to_thread(self._server.descriptors), self._server.outcomes()
        began = time.monotonic()
        await asyncio.gather(self._direct(), *(self._client() for _ in range(CONNECTIONS)))
        self.log.seconds = time.monotonic() - began
        self.log.descriptors = (first, await asyncio.to_thread(self._server.descriptors, at_most=first))
        self.log.outcomes = Counter(self._server.outcomes())
        self.log.outcomes.subtract(before)
        self.log.images_per_failing_run = self._server.images_per_run("fragile")
        self.log.log_lines = self._server.unexpected_log_lines()
        return self.log

    async def _store_answers(self) -> None:
        """Store the answers of every request that may succeed; for the swapped bundle, those of both variants."""
        requests = {request for kind in self.log.kinds if kind.checked for request in kind.requests}
        client = Client(self._server.port)
        await self._stored.store(sorted(requests), client)
        there, _, back, *_ = changes(self._folder)
        await self._make(there)
        await self._stored.store(sorted(r for r in requests if SWAPPED.encode() in r.split(b"\r\n")[0]), client)
        await self._make(back)
        client.close()
        self.log.stored = len(self._stored)
        self.log.changes.clear()

    async def _direct(self) -> None:
        """Release the requests in parts, and make one change of the folder during each."""
        rounds = max(1, self._requests // REQUESTS_PER_ROUND)
        planned = changes(self._folder) * rounds
        for number, change in enumerate(planned):
            released = self._requests * (number + 1) // len(planned)
            for _ in range(released - self._requests * number // len(planned)):
                self._released.release()
            await self._make(change)
            while self.log.answers.total() < released - CONNECTIONS:
                await asyncio.sleep(0.02)

    async def _make(self, change: Change) -> None:
        await asyncio.to_thread(change.make)
        end = time.monotonic() + LONGEST_CHANGE
        while not change.seen(await asyncio.to_thread(self._server.models)):
            if time.monotonic() > end:
                self.log.missed.append(change.name)
                return
            await asyncio.sleep(0.1)
        self.log.changes[change.name] += 1

    async def _client(self) -> None:
        client = Client(self._server.port)
        for kind in self._deck:
            await self._released.acquire()
            await self._one(kind, client)
        client.close()

    async def _one(self, kind: Kind, client: Client) -> None:
        self.log.sent[kind.name] += 1
        if self.log.sent.total() % max(1, self._requests // SAMPLES) == 0:
            self.log.resident.append(self._server.megabytes())
        request = self._random.choice(kind.requests)
        status, body = await ask(client, request, kind.manner)
        self.log.answers[kind.name, status] += 1
        if status == 200 and not self._stored.confirm(request, body):
            self.log.wrong.append(f"{request[:80]!r}: {body[:300]!r}")


def _deck(kinds: Sequence[Kind], requests: int, chance: random.Random) -> Iterator[Kind]:
    """Return every kind as often as its share says, at least once, shuffled; the first kind takes what is left."""
    counts = {kind.name: max(1, round(requests * kind.share / 1000)) for kind in kinds[1:]}
    cards = [kind for kind in kinds[1:] for _ in range(counts[kind.name])]
    cards += [kinds[0]] * (requests - len(cards))
    chance.shuffle(cards)
    return iter(cards)


def soak(requests: int, bundles: Path, *, most_pictures: int | None = None, warm_up: bool = True, seed: int = 0) -> Log:
    """Send `requests` requests to the service over a copy of `bundles` (two or more, with all their graphs).

    With few pictures and no warm-up the first request comes soon.
    """
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = Folder(bundles, temporary)
        server = stack.enter_context(serving(folder.path, warm_up))
        return run(Soak(folder, server, requests, seed, most_pictures).run())
