"""Promise 4: clients on fresh and on kept connections, while a bundle is replaced a hundred times, and at the end."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.promises.bundles import IMAGES, SHIPPED, install, with_labels_reversed
from bench.promises.findings import Finding, exactly
from bench.promises.load import Answer, Caller, post
from bench.promises.metrics import get, wait_until
from bench.replicas import Replica, replicas

RELOADS = 100
CLIENTS = 4
DRAIN = 5.0
NAME = "resnet20"


class Clients:
    """Two that keep their connection and two that do not; `answers` is all that they saw, in order.

    They send `requests` in turns to `port`, which may change: a connection goes on until the service ends it.
    """

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.port = port
        self._requests = itertools.cycle(enumerate(requests))
        self.answers: list[Answer] = []
        self.stop = asyncio.Event()

    async def play(self) -> None:
        await asyncio.gather(*[self._client(kept=number % 2 == 0) for number in range(CLIENTS)])

    async def _client(self, *, kept: bool) -> None:
        loop = asyncio.get_running_loop()
        caller: Caller | None = None
        while not self.stop.is_set():
            began, done = time.monotonic(), loop.create_future()
            try:
                if caller is None or not kept or caller.transport.is_closing():
                    _, caller = await loop.create_connection(lambda: Caller(_into), "127.0.0.1", self.port)
            except OSError:
                self.answers.append(Answer(0, -1, began, 0.0, None, b""))  # refused: nobody listens
                await asyncio.sleep(0.02)
                caller = None
                continue
            caller.waiting = done
            number, request = next(self._requests)
            caller.ask(request, number, began)
            self.answers.append(await done)
            if not kept or caller.closes:
                caller.transport.close()
                caller = None


def _into(caller: Caller, answer: Answer) -> None:
    assert caller.waiting is not None
    caller.waiting.set_result(answer)


def measure() -> Iterator[Finding]:
    """The reloads, then SIGTERM while the clients go on."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles, store = Path(temporary) / "bundles", Path(temporary) / "store"
        bundles.mkdir()
        store.mkdir()
        variants = [SHIPPED / NAME, with_labels_reversed(SHIPPED / NAME, store / NAME)]
        install(variants[0], bundles / NAME)
        flags = ("--bundle-poll-seconds", "0.05", "--drain-delay", str(DRAIN), "--log-level", "error")
        with replicas(1, bundles, *flags) as (service,):
            yield from asyncio.run(_played(service, bundles / NAME, variants))


async def _played(service: Replica, target: Path, variants: list[Path]) -> list[Finding]:
    clients = Clients(service.port, [post("/predict?top_k=1", (IMAGES / "cat.jpg").read_bytes())])
    playing = asyncio.create_task(clients.play())
    digests = [hashlib.sha256((variant / "bundle.json").read_bytes()).hexdigest()[:12] for variant in variants]
    for number in range(1, RELOADS + 1):
        install_now = asyncio.to_thread(_replace, service.port, variants[number % 2], target, digests[number % 2])
        await install_now
    reloaded = len(clients.answers)
    service.process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    status = await asyncio.to_thread(service.process.wait, DRAIN + 30)
    ended = time.monotonic() - signalled
    await asyncio.sleep(0.2)
    clients.stop.set()
    await playing
    labels = {digest: _label(clients.answers, digest) for digest in digests}
    before, after = clients.answers[:reloaded], clients.answers[reloaded:]
    return [*_judged(before, after, signalled, labels), *_ending(status, ended)]


def _replace(port: int, variant: Path, target: Path, digest: str) -> None:
    install(variant, target)
    wait_until(lambda: get(port, "/models")["models"][0]["bundle"] == digest)


def _best(answer: Answer) -> tuple[str, str]:
    document = json.loads(answer.body)
    return document["bundle"], document["predictions"][0]["labels"][0]["label"]


def _label(answers: list[Answer], digest: str) -> str:
    """What that bundle says, by its list of labels: known beforehand, as one list is the other backwards."""
    labels = json.loads((SHIPPED / NAME / "bundle.json").read_text())["labels"]
    original = hashlib.sha256((SHIPPED / NAME / "bundle.json").read_bytes()).hexdigest()[:12]
    index = labels.index("cat")
    return labels[index] if digest == original else labels[-1 - index]


def _judged(before: list[Answer], after: list[Answer], signalled: float, labels: dict[str, str]) -> Iterator[Finding]:
    right = [answer for answer in before if answer.status == 200 and labels.get(_best(answer)[0]) == _best(answer)[1]]
    seen = Counter(_best(answer)[0] for answer in right)
    yield Finding("reloads while clients asked", f"{RELOADS}, {len(before):,} requests")
    yield exactly("bundles whose answers were seen", len(seen), 2)
    yield exactly("answers that were not 200 and right, or mixed bundles", len(before) - len(right), 0)
    kinds = Counter(_kind(answer, signalled, labels) for answer in after)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    yield Finding("after SIGTERM", listed)
    yield exactly("neither right, 503 with Retry-After, nor refused after the drain", kinds["lost"], 0)


def _kind(answer: Answer, signalled: float, labels: dict[str, str]) -> str:
    if answer.status == 200:
        digest, label = _best(answer)
        return "right" if labels.get(digest) == label else "lost"
    if answer.status == 503 and answer.retry_after is not None:
        return "told to come back"
    drained = answer.sent + answer.seconds - signalled >= DRAIN
    return "refused after the drain" if answer.status <= 0 and drained else "lost"


def _ending(status: int, seconds: float) -> Iterator[Finding]:
    yield exactly("exit status", status, 0)
    yield Finding("ended after SIGTERM, with a drain of 5 s, within", f"{seconds:.1f} s")
