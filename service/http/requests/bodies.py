"""Reads request bodies and decodes them, within limits on size, on time, and on what all bodies hold at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO

from starlette.types import Message, Receive

from service.errors import ClientGone, QueueFull, SlowRequest, TooLarge
from service.http.requests.content_coding import coding_of, decoded

LINGER = 2.0
"""Seconds for which input is read and thrown away after a refusal.

A connection that is closed with something unread is reset, and its client may never see the answer."""

SMALL_BODY = 2**14
"""Bytes up to which a body that arrives in one piece is not counted."""


class HeldBytes:
    """Bytes that one body takes of the common budget, and whether more of it is to come."""

    __slots__ = ("more", "size")

    def __init__(self) -> None:
        self.size = 0
        self.more = False


class BodyReader:
    """Reads bodies; all but small ones count against a common budget until `release`."""

    def __init__(self, max_bytes: int, max_held: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._max_held = max_held
        self._seconds = seconds
        self._held = 0

    @property
    def uncounted(self) -> int:
        """Bytes up to which a body that has arrived whole may be taken without `take`."""
        return min(SMALL_BODY, self._max_bytes)

    def take(self, body: bytes, held: HeldBytes) -> bytes:
        """Count a body that has arrived whole, and return it.

        Raises:
            TooLarge, QueueFull: as `read`.
        """
        if len(body) > self._max_bytes:
            raise TooLarge(f"The body is larger than the limit of {in_words(self._max_bytes)}.")
        if len(body) > SMALL_BODY:
            self._hold(held, len(body))
        return body

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, held: HeldBytes) -> bytes:
        """Wait for the whole body, and return it.

        Raises:
            TooLarge: over `max_bytes`.
            SlowRequest: not complete after `seconds`.
            QueueFull: too many large bodies are held already.
            ClientGone: the connection ended.
        """
        length = _content_length(headers)
        if length > self._max_bytes:
            held.more = b"expect" not in headers
            await _discard(held, receive)
            raise TooLarge(f"The body has {in_words(length)}; the limit is {in_words(self._max_bytes)}.")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._receive(receive, held)
        except TimeoutError:
            raise SlowRequest(f"The request did not arrive within {self._seconds:g} s.") from None
        except TooLarge:
            await _discard(held, receive)
            raise

    async def decoded(self, body: bytes, content_encoding: bytes, held: HeldBytes) -> bytes:
        """Return the content of a body without its content coding; each piece is counted before the next is decoded.

        Raises:
            UnsupportedCoding, MalformedRequest: another coding, or not what it says.
            TooLarge: over `max_bytes` when decoded.
            QueueFull: as `read`.
        """
        coding = coding_of(content_encoding.decode("latin-1"))
        if coding is None:
            return body
        whole, size = BytesIO(), 0
        pieces = decoded(body, coding)
        while piece := await asyncio.to_thread(next, pieces, b""):
            self._hold(held, len(piece))
            size += whole.write(piece)
            if size > self._max_bytes:
                raise TooLarge(f"The decoded body is larger than the limit of {in_words(self._max_bytes)}.")
        return whole.getvalue()

    def release(self, held: HeldBytes) -> None:
        """Give back what a body took of the budget."""
        self._held -= held.size
        held.size = 0

    async def _receive(self, receive: Receive, held: HeldBytes) -> bytes:
        message = await _next(receive)
        body: bytes = message.get("body", b"")
        if len(body) > SMALL_BODY:
            self._hold(held, len(body))
        if message.get("more_body", False) or len(body) > self._max_bytes:
            body = await self._receive_rest(body, message, receive, held)
        return body

    async def _receive_rest(self, first: bytes, message: Message, receive: Receive, held: HeldBytes) -> bytes:
        body = BytesIO()  # holds each byte once, where pieces to be joined would hold it twice
        size = body.write(first)
        while message.get("more_body", False) and size <= self._max_bytes:
            message = await _next(receive)
            piece = message.get("body", b"")
            self._hold(held, len(piece))
            size += body.write(piece)
        if size > self._max_bytes:
            held.more = message.get("more_body", False)
            raise TooLarge(f"The body is larger than the limit of {in_words(self._max_bytes)}.")
        return body.getvalue()

    def _hold(self, held: HeldBytes, size: int) -> None:
        if self._held + size > self._max_held:
            raise QueueFull("Too many large bodies are being read.")
        self._held += size
        held.size += size


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone("The client has gone.")
    return message


async def _discard(held: HeldBytes, receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while held.more:
                held.more = (await receive()).get("more_body", False)


def _content_length(headers: Mapping[bytes, bytes]) -> int:
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return 0


def in_words(size: int) -> str:
    """Write a number of bytes as people read it: "16 MB (16,777,216 bytes)"; a MB has 2²⁰ bytes here."""
    exact, megabytes = f"{size:,} bytes", size / 2**20
    if megabytes < 1:
        return exact
    return f"{megabytes:.3g} MB ({exact})" if megabytes < 100 else f"{megabytes:,.0f} MB ({exact})"
