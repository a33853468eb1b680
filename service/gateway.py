"""The outermost layer: what is the same for every request, whatever answers it.

Gives the request its context (id, deadline, clock), checks the key, reads the body within its
limits, watches for a client that goes, turns errors into answers, adds the headers that every
answer has, and writes the request into the ledger. `POST /predict` is called directly from here;
everything else goes through FastAPI.

Pure ASGI: any middleware class between the server and the endpoint would hide disconnections.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Protocol as TypingProtocol

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from service.access import Access
from service.bodies import BodyReader, Holding
from service.errors import ClientGone, DeadlineExceeded, MalformedRequest
from service.ledger import Ledger, outcome_of
from service.lifecycle import Lifecycle
from service.request_context import RequestContext
from service.responses import CLOSE, Headers, error_answer
from service.routes.predict import PredictEndpoint
from service.settings import Settings

log = logging.getLogger("contraflow.http")

CONNECTION = "contraflow.connection"
"""ASGI extension of our own server protocol, a `Connection`."""

ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
COMMON_HEADERS: Headers = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Connection(TypingProtocol):
    """What our own server protocol does beyond ASGI, for less than ASGI costs."""

    on_lost: Callable[[], None] | None
    """Called when the connection ends."""

    def whole_body(self) -> bytes | None:
        """The body, once, if it has arrived whole."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes a whole answer."""


class Gateway:
    """The ASGI application that the server runs."""

    def __init__(
        self, app: FastAPI, predict: PredictEndpoint, settings: Settings, ledger: Ledger, lifecycle: Lifecycle
    ) -> None:
        self.app = app
        self._predict = predict
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._access = Access(settings.api_keys, settings.requests_per_second)
        self._deadline = settings.deadline_ms / 1e3
        self._bodies = BodyReader(settings.max_body_bytes, settings.max_body_bytes_in_flight, settings.request_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # answered as GET; the server, which keeps its own scope, leaves the body out
            scope = {**scope, "method": "GET"}
        headers: dict[bytes, bytes] = dict(scope["headers"])
        context = RequestContext(_request_id(headers), scope.get("client"))
        scope.setdefault("state", {})["context"] = context
        connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
        exchange = _Exchange(send, connection, context, self._lifecycle)
        watch: _Watch | None = None
        holding = Holding()
        try:
            self._access.check(scope["path"], headers)
            body = b""
            if scope["method"] != "GET":
                whole = connection.whole_body() if connection is not None else None
                if whole is not None:
                    body = self._bodies.take(whole, holding)
                else:
                    body = await self._bodies.read(headers, receive, holding)
            context.begin(_deadline(headers, self._deadline))
            watch = _Watch(connection, receive, context)
            if scope["path"] == "/predict" and scope["method"] == "POST":
                await exchange.answer(*await self._predict(body, headers, scope["query_string"], context))
            else:
                await self.app(scope, watch.replay(body), exchange.send)
        except Exception as error:
            await self._answer_error(error, scope["path"], exchange)
        finally:
            if watch is not None:
                watch.end()
            self._bodies.release(holding)
            self._record(scope, context, exchange)

    async def _answer_error(self, error: Exception, path: str, exchange: _Exchange) -> None:
        if isinstance(error, ClientGone):
            exchange.context.abandon(error)
            return
        status, headers, body = error_answer(error, path, exchange.context.id)
        if status == 500:
            log.error("a request failed", exc_info=error, extra={"request_id": exchange.context.id})
        if not exchange.started:
            await exchange.answer(status, headers, body)

    def _record(self, scope: Scope, context: RequestContext, exchange: _Exchange) -> None:
        route = "/predict" if scope["path"] == "/predict" else getattr(scope.get("route"), "path", "other")
        gone = isinstance(context.abandoned_by, ClientGone)
        outcome = outcome_of(exchange.status, gone=gone)
        self._ledger.request_finished(route, outcome, exchange.status, context)


class _Exchange:
    """The answering side of one request: adds the headers that all answers have, remembers the status."""

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
        common = [header for header in self._common_headers() if header[0] not in given]
        await self._begin(start["status"], [*start["headers"], *common], message)

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer at once."""
        headers = [*headers, (b"content-length", b"%d" % len(body)), *self._common_headers()]
        if status in (408, 413):
            headers.append(CLOSE)
        await self._begin(status, headers, {"type": "http.response.body", "body": body})

    async def _begin(self, status: int, headers: Headers, body: Message) -> None:
        self.started = True
        self.status = status
        if self._connection is not None and not body.get("more_body", False):
            await self._connection.answer(status, headers, body.get("body", b""))
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send(body)

    def _common_headers(self) -> Headers:
        self.context.account("serialize")
        headers = [
            *COMMON_HEADERS,
            (b"x-request-id", self.context.id.encode()),
            (b"server-timing", self.context.server_timing().encode()),
        ]
        if self._lifecycle.draining:
            headers.append(CLOSE)
        return headers


class _Watch:
    """Gives a request up when its client goes or its deadline passes, until `end`."""

    __slots__ = ("_connection", "_context", "_gone", "_task", "_timer")

    def __init__(self, connection: Connection | None, receive: Receive, context: RequestContext) -> None:
        self._context = context
        self._gone: asyncio.Event | None = None
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        if self._connection is not None:
            self._connection.on_lost = self.lost
        else:
            self._task = asyncio.ensure_future(_wait_for_disconnect(receive, self.lost))
        assert context.deadline is not None
        seconds = max(0.0, context.deadline - context.received)
        self._timer = asyncio.get_running_loop().call_later(seconds, self.late)

    def lost(self) -> None:
        if self._gone is not None:
            self._gone.set()
        self._context.abandon(ClientGone("The client has gone."))

    def late(self) -> None:
        self._context.abandon(DeadlineExceeded("The deadline passed before the answer was there."))

    def replay(self, body: bytes) -> Receive:
        """`receive` for the application: the body that was read already, then the end of the connection."""
        self._gone = gone = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        return receive

    def end(self) -> None:
        self._timer.cancel()
        if self._connection is not None:
            self._connection.on_lost = None
        if self._task is not None:
            self._task.cancel()


async def _wait_for_disconnect(receive: Receive, lost: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    lost()


def _request_id(headers: dict[bytes, bytes]) -> str | None:
    given = headers.get(b"x-request-id")
    return given.decode() if given is not None and ACCEPTABLE_ID.fullmatch(given) else None


def _deadline(headers: dict[bytes, bytes], longest: float) -> float:
    """Seconds by `X-Deadline-Ms`, at most the setting.

    Raises:
        MalformedRequest: not a positive number.
    """
    given = headers.get(b"x-deadline-ms")
    if given is None:
        return longest
    try:
        seconds = float(given) / 1e3
    except ValueError:
        seconds = float("nan")
    if not seconds > 0:
        raise MalformedRequest("X-Deadline-Ms must be a positive number of milliseconds.")
    return min(seconds, longest)
