"""uvicorn's HTTP protocol with what it lacks: a limit on the head, a time limit for it, word of lost connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway import CONNECTION


class Protocol(HttpToolsProtocol):
    """One connection. What never becomes a request gets a plain answer, and the connection is closed."""

    max_head_bytes = 32 * 2**10
    head_timeout = 30.0

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.on_lost: Callable[[], None] | None = None
        self._head_bytes = 0
        """Of the head's parts, as the parser hands them out."""
        self._bytes_since_head = 0
        """Received since the last whole head: a line that never ends stays inside the parser."""
        self._head_since: float | None = None
        """When the head that is still incomplete began; None between requests and during a body."""

    @property
    def body_is_here(self) -> bool:
        """Whether the current request's body has arrived whole."""
        return not self.cycle.more_body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self._head_since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]
        self._head_bytes = 0
        self._head_since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._bytes_since_head = 0
        if self._head_bytes > self.max_head_bytes:
            self._refuse_head()
            raise ValueError("head too large")  # ends the parser
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._bytes_since_head = 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._bytes_since_head += len(data)
        super().data_received(data)
        if self._head_since is not None and self._bytes_since_head > self.max_head_bytes:
            self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self._refuse(b"431 Request Header Fields Too Large", b"The request head is too large.")

    def close_if_slow(self, now: float) -> None:
        """Ends a connection whose request head has not arrived in time; called once a second."""
        if self._head_since is not None and now - self._head_since > self.head_timeout:
            self._refuse(b"408 Request Timeout", b"The request did not arrive in time.")

    def _refuse(self, status: bytes, text: bytes) -> None:
        if self.transport.is_closing():
            return
        head = b"HTTP/1.1 %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(text)) + text)
        self.transport.close()


class OneWrite:
    """A transport that sends an answer's head together with its body, where the two come at one moment.

    uvicorn writes them one after the other, which is two system calls and two packets per answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is not None:
            data, self._head = self._head + data, None
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)  # for a body that does not come yet
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            data, self._head = self._head, None
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
