"""One HTTP/1.1 connection from the client's side.

Written by hand for two reasons: a load generator shares the processor with what it measures, so it must cost
little, and clients' libraries do not misbehave on request.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

import uvloop

HOST = "127.0.0.1"
BROKEN = 0
"""The status of a request that was not answered."""

END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *\d+\r\n", re.IGNORECASE)
STAGE = re.compile(rb"(\w+);dur=([\d.]+)")

Result = TypeVar("Result")


class Reply(NamedTuple):
    """The answer to one request of a load."""

    number: int
    """Position of the request in the load."""
    sent: float
    """Seconds on the monotonic clock when the request was sent, or was due in an open loop."""
    seconds: float
    """From `sent` to the last byte of the answer."""
    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def says_when_to_retry(self) -> bool:
        return RETRY_AFTER.search(self.head) is not None

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage, as the service's Server-Timing header gives them."""
        return {name.decode(): float(value) / 1e3 for name, value in STAGE.findall(self.head)}


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in an event loop of its own, on uvloop, which costs half of asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class Client:
    """A kept connection with at most one request on its way; it is opened at need, and again after it ended."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._wire: _Wire | None = None

    async def ask(self, request: bytes, number: int = 0, due: float | None = None) -> Reply:
        """Send `request` and wait for its answer; without an answer the reply's status is `BROKEN`."""
        sent = time.monotonic() if due is None else due
        try:
            await self.send(request)
            head, body = await self.answer()
        except OSError:
            return Reply(number, sent, time.monotonic() - sent, BROKEN)
        return Reply(number, sent, time.monotonic() - sent, int(head[9:12]), head, body)

    async def send(self, data: bytes = b"") -> None:
        """Connect if necessary, and send `data`.

        Raises:
            OSError: nobody listens.
        """
        if self._wire is None or self._wire.transport.is_closing():
            _, self._wire = await asyncio.get_running_loop().create_connection(_Wire, HOST, self.port)
        self._wire.transport.write(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """Return head and body of the answer to the request that was sent.

        Raises:
            OSError: the connection ended before the answer was whole.
        """
        assert self._wire is not None
        return await self._wire.next_answer()

    def shut_sending_side(self) -> None:
        """Say that nothing more is sent, while answers may still come."""
        assert self._wire is not None
        self._wire.transport.write_eof()

    async def ended(self) -> None:
        """Wait until the server ends the connection; answers that come meanwhile are dropped."""
        assert self._wire is not None
        with suppress(OSError):
            while True:
                await self._wire.next_answer()

    def close(self, *, reset: bool = False) -> None:
        """End the connection: in order, or at once whatever is on its way."""
        if self._wire is not None:
            (self._wire.transport.abort if reset else self._wire.transport.close)()
            self._wire = None


class _Wire(asyncio.Protocol):
    """One connection of a client, which puts the answers together from what arrives."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._answers: deque[tuple[bytes, bytes]] = deque()
        self._lost = False
        self._waiting: asyncio.Future[tuple[bytes, bytes]] | None = None

    async def next_answer(self) -> tuple[bytes, bytes]:
        if self._answers:
            return self._answers.popleft()
        if self._lost:
            raise ConnectionResetError("the connection has ended")
        self._waiting = asyncio.get_running_loop().create_future()
        return await self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports have another base class

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        end = received.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD):
            return
        length = CONTENT_LENGTH.search(received, 0, end)
        # One request is on its way at a time, so a chunked answer ends with what has been received.
        whole = len(received) >= end + int(length[1]) if length else received.endswith(b"\r\n0\r\n\r\n")
        if not whole:
            return
        self._received, head = b"", received[:end]
        if b"connection: close" in head.lower():
            self.transport.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((head, received[end:]))
        else:
            self._answers.append((head, received[end:]))

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("the connection has ended"))
