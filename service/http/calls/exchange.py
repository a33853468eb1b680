"""The answering side of a request: the headers that all answers have, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Message, Send

from service.engine.request_context import RequestContext
from service.http.answers.responses import CLOSE, Headers
from service.http.calls.lifecycle import Lifecycle

CONNECTION = "contraflow.connection"
"""ASGI extension of our own server protocol, a `Connection`."""

COMMON_HEADERS: Headers = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Connection(Protocol):
    """What our own server protocol does beyond ASGI, for less than ASGI costs."""

    on_lost: Callable[[], None] | None
    """Called when the connection ends."""

    @property
    def lost(self) -> bool:
        """True once it has ended."""

    def whole_body(self) -> bytes | None:
        """The body, once, if it has arrived whole."""

    def write(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes a whole answer."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes a whole answer, when the client has read enough of what was written before."""


class Exchange:
    """The answer to one request of an ASGI server."""

    __slots__ = ("_connection", "_held", "_lifecycle", "_send", "context", "started", "status")

    def __init__(
        self, send: Send, connection: Connection | None, context: RequestContext, lifecycle: Lifecycle
    ) -> None:
        self._send = send
        self._connection = connection
        self._lifecycle = lifecycle
        self._held: Message | None = None
        self.context = context
        self.started = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """For the application: holds the start of its answer until the body tells whether that is whole."""
        if message["type"] == "http.response.start":
            self._held = message
            return
        if self._held is None:
            await self._send(message)
            return
        start, self._held = self._held, None
        given = {name.lower() for name, _ in start["headers"]}
        common = [header for header in common_headers(self.context, self._lifecycle) if header[0] not in given]
        await self._begin(start["status"], [*start["headers"], *common], message)

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer at once."""
        headers = headers_of_whole_answer(status, headers, body, self.context, self._lifecycle)
        await self._begin(status, headers, {"type": "http.response.body", "body": body})

    async def _begin(self, status: int, headers: Headers, body: Message) -> None:
        self.started = True
        self.status = status
        if self._connection is not None and not body.get("more_body", False):
            await self._connection.answer(status, headers, body.get("body", b""))
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send(body)


def headers_of_whole_answer(
    status: int, headers: Headers, body: bytes, context: RequestContext, lifecycle: Lifecycle
) -> Headers:
    """`headers` and all that an answer whose body is known has besides."""
    whole = [*headers, (b"content-length", b"%d" % len(body)), *common_headers(context, lifecycle)]
    if status in (408, 413):
        whole.append(CLOSE)
    return whole


def common_headers(context: RequestContext, lifecycle: Lifecycle) -> Headers:
    """What every answer has; the request's clock stands still from here on."""
    context.account("serialize")
    headers = [
        *COMMON_HEADERS,
        (b"x-request-id", context.id.encode()),
        (b"server-timing", context.server_timing().encode()),
    ]
    if lifecycle.draining:
        headers.append(CLOSE)
    return headers
