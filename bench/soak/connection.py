"""One connection to the service, written by hand: clients' libraries do not misbehave on request."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from typing import Literal

Manner = Literal["whole", "pieces", "cancelled", "shut", "half a body", "half a head"]
"""How a request is sent: `cancelled` is sent whole and its connection reset within 10 ms, `shut` has its sending side
shut then."""

GIVEN_UP: tuple[Manner, ...] = ("cancelled", "shut")
"""Nobody waits for the answer of these."""

NO_ANSWER = 0
"""The status of a request that was cancelled, or that the service did not answer."""

PIECES = 4
SECONDS_BETWEEN_PIECES = 0.02
LONGEST_ANSWER = 310.0

END_OF_HEAD = b"\r\n\r\n"


class Connection:
    """Connects on the first request, and again after every one that ended the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, manner: Manner = "whole") -> tuple[int, bytes]:
        """Status and body of the answer; (`NO_ANSWER`, what went wrong) if there was none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        await SENDERS[manner](writer, request)
        if manner in GIVEN_UP:
            if manner == "shut":
                await asyncio.wait_for(_end_of(reader), LONGEST_ANSWER)
            writer.transport.abort()
            self._streams = None
            return NO_ANSWER, b""
        try:
            status, body, closes = await asyncio.wait_for(_answer(reader), LONGEST_ANSWER)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            return NO_ANSWER, repr(error).encode()
        if closes:
            self.close()
        return status, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection ends with it."""
    head = (await reader.readuntil(END_OF_HEAD)).lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12]), body, b"\r\nconnection: close" in head


async def _whole(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)


async def _in_pieces(writer: asyncio.StreamWriter, request: bytes) -> None:
    size = -(-len(request) // PIECES)
    for start in range(0, len(request), size):
        writer.write(request[start : start + size])
        await asyncio.sleep(SECONDS_BETWEEN_PIECES)


async def _cancelled(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    await asyncio.sleep(random.random() * 0.01)


async def _shut(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    writer.write_eof()


async def _end_of(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):
        while await reader.read(2**16):
            pass


async def _half_a_body(writer: asyncio.StreamWriter, request: bytes) -> None:
    head, _, body = request.partition(END_OF_HEAD)
    writer.write(head + END_OF_HEAD + body[: len(body) // 2])


async def _half_a_head(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request[: request.index(END_OF_HEAD) // 2])


SENDERS: dict[Manner, Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]] = {
    "whole": _whole,
    "pieces": _in_pieces,
    "cancelled": _cancelled,
    "shut": _shut,
    "half a body": _half_a_body,
    "half a head": _half_a_head,
}
