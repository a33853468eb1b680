"""uvicorn's HTTP protocol with what it lacks.

A limit on the head and on the time it takes, word of lost connections, answers in one write where ASGI takes two
messages, and no task for a request that can do without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.bodies import SMALL_BODY
from service.errors import HeadTooLarge, MalformedRequest, ServiceError, SlowRequest, TooLarge
from service.exchange import CONNECTION, Connection
from service.request_context import new_request_id
from service.responses import CLOSE, Headers, error_answer

MOST_CHUNKS = 2**14
"""Of one body: enough for the largest in pieces of a kilobyte, and little work if they are all of one byte."""


class Protocol(HttpToolsProtocol):
    """One connection. What never becomes a request gets its problem too, and the connection is closed."""

    max_head_bytes = 32 * 2**10
    head_timeout = 30.0
    begin: Callable[[Scope, bytes, Connection], bool]
    """Asked with a request whose small body is there; if true, it is answered by `write`, and needs no task."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.url = b""
        self.on_lost: Callable[[], None] | None = None
        self._answering: RequestResponseCycle
        """The request that is worked on; `cycle` is the last that came, which may still have to wait."""
        self._unstarted: tuple[RequestResponseCycle, Any] | None = None
        """What was to be started when its head was there, and waits for its body if that is in the same packet."""
        self._chunks = 0
        """Of the body that is read."""
        self._bytes_since_head = 0
        """Received since the last whole head or piece of a body: a line that never ends stays inside the parser."""
        self._head_since: float | None = None
        """When the head that is still incomplete began; None between requests and during a body."""
        self._idle_since: float | None = None
        """When the last answer was given, if nothing has come since."""

    def whole_body(self) -> bytes | None:
        """The body of the request that is worked on, once, if it has arrived whole; else None: ask `receive`."""
        cycle = self._answering
        if cycle.more_body or cycle.waiting_for_100_continue:
            return None
        self.flow.resume_reading()  # of what comes next, be it the end of the connection
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """As `write`, but waits first for a client that is slow to read."""
        if self.flow.write_paused and not self._answering.disconnected:
            await self.flow.drain()
        self.write(status, headers, body)

    def write(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer to the request that is worked on: one system call and one packet if it is small."""
        cycle = self._answering
        if self.transport.is_closing():
            cycle.disconnected = True  # though not told yet: uvicorn would log, as an error, that nothing was sent
        if cycle.disconnected:
            return
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = [*headers, CLOSE]
        content = b"" if cycle.scope["method"] == "HEAD" else body
        self.transport.write(message(status, headers, content))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for one timer per answer: `close_if_slow` looks after idle connections too."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.loop.call_soon(self._begin_next)  # not now: it may be answered at once, and so on, within one another
        else:
            self._idle_since = time.monotonic()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]
        self._head_since = time.monotonic()
        self._chunks = 0

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._bytes_since_head = 0
        if self._head_bytes() > self.max_head_bytes:
            self._refuse_head()
            raise ValueError("head too large")  # ends the parser
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MOST_CHUNKS:
            self._refuse(TooLarge(f"The body has more than {MOST_CHUNKS} chunks."))
            raise ValueError("too many chunks")

    def on_body(self, body: bytes) -> None:
        self._bytes_since_head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bytes_since_head = 0
        super().on_message_complete()
        self._begin_unstarted()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._idle_since = None
        self._bytes_since_head += len(data)
        super().data_received(data)
        self._begin_unstarted()
        if self._bytes_since_head > self.max_head_bytes and (self._head_since is not None or self._chunks):
            self._refuse_head()  # the head, a chunk's extension, or the trailers

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest("This is not HTTP/1.1."))

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """uvicorn calls it when the head is there; whether a task is needed shows with the body."""
        self._unstarted = (cycle, app)

    def _begin_unstarted(self) -> None:
        if self._unstarted is not None:
            unstarted, self._unstarted = self._unstarted, None
            self._begin(*unstarted)

    def _begin_next(self) -> None:
        if not self.transport.is_closing():
            self._begin(*self.pipeline.pop())

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if not self._begun_without_task(cycle):
            super()._start_asgi_task(cycle, app)

    def _begun_without_task(self, cycle: RequestResponseCycle) -> bool:
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected or len(cycle.body) > SMALL_BODY:
            return False
        if self.flow.write_paused:
            return False  # it would have to wait before it may answer
        scope: Any = cycle.scope
        return self.begin(scope, bytes(cycle.body), self)

    def _refuse_head(self) -> None:
        self._refuse(HeadTooLarge(f"The request's head has more than {self.max_head_bytes} bytes."))

    def close_if_slow(self, now: float) -> None:
        """Ends a connection that is idle or whose request head has not arrived in time; called once a second."""
        if self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()
            return
        if self._head_since is not None and now - self._head_since > self.head_timeout:
            self._refuse(SlowRequest(f"The request's head did not arrive within {self.head_timeout:g} s."))

    def _refuse(self, error: ServiceError) -> None:
        if self.transport.is_closing():
            return
        request_id = new_request_id()
        path = self.url.partition(b"?")[0].decode("latin-1")
        status, headers, body = error_answer(error, path, request_id)
        headers += [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode()), CLOSE]
        self.transport.write(message(status, headers, body))
        self.transport.close()


def message(status: int, headers: Headers, body: bytes) -> bytes:
    """A whole answer as it goes over the wire."""
    return b"".join([STATUS_LINE[status], *[b"%s: %s\r\n" % header for header in headers], b"\r\n", body])
