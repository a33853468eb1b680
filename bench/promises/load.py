"""Load of two kinds from one event loop: closed (the next request follows the answer) and open (it does not wait)."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """To request `number`; `sent` on the monotonic clock, `seconds` until the last byte; status 0: it broke."""

    number: int
    status: int
    sent: float
    seconds: float
    retry_after: int | None
    body: bytes


class Caller(asyncio.Protocol):
    """One kept connection with at most one request on the way; `answered` is called with each answer."""

    def __init__(self, answered: Callable[[Caller, Answer], None]) -> None:
        self._answered = answered
        self._received = bytearray()
        self._busy = False
        self.waiting: asyncio.Future[Answer] | None = None
        self.closes = False
        """Whether the last answer said that the connection ends with it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes, number: int, sent: float) -> None:
        self._busy, self._number, self._sent = True, number, sent
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[: end + 2])
        length = LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= whole:
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            self.closes = b"connection: close" in head.lower()
            retry_after = RETRY_AFTER.search(head)
            self._give(int(head[9:12]), int(retry_after[1]) if retry_after else None, body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._busy:
            self._give(0, None, b"")

    def _give(self, status: int, retry_after: int | None, body: bytes) -> None:
        self._busy, seconds = False, time.monotonic() - self._sent
        self._answered(self, Answer(self._number, status, self._sent, seconds, retry_after, body))


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> list[Answer]:
    """`clients` connections, each asking again as soon as it is answered; the requests in turn."""
    loop = asyncio.get_running_loop()
    answers: list[Answer] = []
    until = time.monotonic() + seconds
    numbers = itertools.count()
    left, done = clients, loop.create_future()

    def ask(caller: Caller) -> None:
        number = next(numbers)
        caller.ask(requests[number % len(requests)], number, time.monotonic())

    def answered(caller: Caller, answer: Answer) -> None:
        nonlocal left
        answers.append(answer)
        if answer.status and time.monotonic() < until:
            ask(caller)
            return
        caller.transport.close()
        left -= 1
        if not left:
            done.set_result(None)

    for _ in range(clients):
        _, caller = await loop.create_connection(lambda: Caller(answered), "127.0.0.1", port)
        ask(caller)
    await done
    return answers


async def open_loop(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    patience: float,
    connections: int = 800,
    seed: int = 0,
) -> list[Answer]:
    """Poisson arrivals of `rate` per second for `seconds`, whether or not the last ones were answered.

    An answer's time counts from when its request was due, so that a generator that is late, or held
    up, flatters nobody. Without a free connection, or unanswered after `patience` more seconds:
    status 0.
    """
    loop = asyncio.get_running_loop()
    answers: list[Answer] = []
    idle: list[Caller] = []

    def answered(caller: Caller, answer: Answer) -> None:
        answers.append(answer)
        if answer.status:
            idle.append(caller)

    callers = [
        (await loop.create_connection(lambda: Caller(answered), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    idle.extend(callers)
    due = time.monotonic() + np.cumsum(np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds)))
    for number, moment in enumerate(due.tolist()):
        while (wait := moment - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if idle:
            idle.pop().ask(requests[number % len(requests)], number, moment)
        else:
            answers.append(Answer(number, 0, moment, 0.0, None, b""))
    end = time.monotonic() + patience
    while len(answers) < len(due) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    for caller in callers:
        caller.transport.close()
    return answers


def throughput(answers: Sequence[Answer]) -> float:
    """Answers per second, from the first request to the last answer."""
    if not answers:
        return 0.0
    end = max(answer.sent + answer.seconds for answer in answers)
    return len(answers) / (end - min(answer.sent for answer in answers))


def percentile(answers: Sequence[Answer], percent: float) -> float:
    """Of the time to an answer, in milliseconds; infinite if there is none."""
    return 1e3 * float(np.percentile([answer.seconds for answer in answers] or [np.inf], percent))
