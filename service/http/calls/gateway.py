"""The outermost layer: what is the same for every request, whatever answers it.

Gives the request its context (id, deadline, clock), checks the key, reads the body within its
limits, watches for a client that goes, turns errors into answers, adds the headers that every
answer has, and writes the request into the ledger. `POST /predict` is called directly from here;
everything else goes through FastAPI.

A prediction of one small picture, which is what busy services mostly get, is answered without a task
of its own (`begin`): a task, its future and its timer cost as much as everything else around the run.

Pure ASGI: any middleware class between the server and the endpoint would hide disconnections.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from service.engine.ledger import Ledger, outcome_of
from service.engine.request_context import RequestContext
from service.errors import ClientGone, MalformedRequest
from service.http.answers.responses import Answer, error_answer
from service.http.calls.access import Access
from service.http.calls.addresses import Addresses
from service.http.calls.deadlines import Deadlines
from service.http.calls.exchange import CONNECTION, Connection, Exchange, headers_of_whole_answer
from service.http.calls.lifecycle import Lifecycle
from service.http.requests.bodies import BodyReader, Holding
from service.http.requests.heads import values_of
from service.http.routes.predict import PredictEndpoint
from service.machine.connections import Connections
from service.settings import Settings

log = logging.getLogger("contraflow.http")

ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Gateway:
    """The ASGI application that the server runs."""

    def __init__(
        self, app: FastAPI, predict: PredictEndpoint, addresses: Addresses, settings: Settings, access: Access,
        ledger: Ledger, lifecycle: Lifecycle, connections: Connections,
    ) -> None:  # fmt: skip
        self.app = app
        self.connections = connections
        self._predict = predict
        self._addresses = addresses
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._access = access
        self._longest = settings.deadline_ms / 1e3
        self._deadlines = Deadlines(self._longest)
        self._bodies = BodyReader(settings.max_body_bytes, settings.max_body_bytes_in_flight, settings.request_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    def begin(self, scope: Scope, body: bytes, connection: Connection) -> bool:
        """Answers a request whose `body` is there by callbacks alone, if it is one small picture for `/predict`.

        Returns whether it is. If so, `connection.write` is called in time, unless the client goes.
        """
        if scope["path"] != "/predict" or scope["method"] != "POST" or len(body) > self._bodies.uncounted:
            return False
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not self._predict.takes(body, headers):
            return False
        context = RequestContext(_request_id(headers), scope["client"])

        def answer(outcome: Answer | Exception) -> None:
            connection.on_lost = None
            self._deadlines.end(context)
            written = self._error_answer(outcome, "/predict", context) if isinstance(outcome, Exception) else outcome
            status = 0
            if written is not None:
                status, own, content = written
                whole = headers_of_whole_answer(status, own, content, context, self._lifecycle)
                connection.write(status, whole, content)
            self._record("/predict", context, status)

        try:
            self._access.check("/predict", headers)
            self._deadlines.start(context, _deadline(headers, self._longest))
            connection.on_lost = lambda: _lost(context)
            self._predict.begin(body, scope["query_string"], context, answer)
        except Exception as error:
            answer(error)
        return True

    def drop(self, scope: Scope) -> None:
        """Counts a request that came whole or in part, and whose client has gone before its turn."""
        context = RequestContext(None, scope["client"])
        _lost(context)
        self._record(self._addresses.route(scope["path"]), context, 0)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # answered as GET; the server, which keeps its own scope, leaves the body out
            scope = {**scope, "method": "GET"}
        path, method = scope["path"], scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        context = RequestContext(_request_id(headers), scope.get("client"))
        scope.setdefault("state", {})["context"] = context
        connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
        exchange = Exchange(send, connection, context, self._lifecycle)
        watch: _Watch | None = None
        holding = Holding()
        try:
            if method != "OPTIONS":  # says nothing that the documentation does not, and is asked without a key
                self._access.check(path, headers)
            body = b""
            if method != "GET":
                whole = connection.whole_body() if connection is not None else None
                if whole is not None:
                    body = self._bodies.take(whole, holding)
                else:
                    body = await self._bodies.read(headers, receive, holding)
            self._deadlines.start(context, _deadline(headers, self._longest))
            watch = _Watch(connection, receive, context)
            if body and b"content-encoding" in headers:
                body = await self._bodies.decoded(
                    body, b", ".join(values_of(scope["headers"], b"content-encoding")), holding
                )
            if method == "OPTIONS":
                await exchange.answer(200, [(b"allow", self._addresses.allow(path).encode())], b"")
            elif path == "/predict" and method == "POST":
                await exchange.answer(*await self._predict(body, headers, scope["query_string"], context))
            else:
                await self.app(scope, watch.replay(body), exchange.send)
        except Exception as error:
            written = self._error_answer(error, path, context)
            if written is not None and not exchange.started:
                await exchange.answer(*written)
        finally:
            if watch is not None:
                watch.end()
            self._deadlines.end(context)
            self._bodies.release(holding)
            route = getattr(scope.get("route"), "path", None) or self._addresses.route(path)
            self._record(route, context, exchange.status)

    def _error_answer(self, error: Exception, path: str, context: RequestContext) -> Answer | None:
        """What is answered to a request that failed; None if there is nobody to answer."""
        if isinstance(error, ClientGone):
            context.abandon(error)
            return None
        answer = error_answer(error, path, context.id)
        if answer[0] == 500:
            log.error("a request failed", exc_info=error, extra={"request_id": context.id})
        return answer

    def _record(self, route: str, context: RequestContext, status: int) -> None:
        gone = isinstance(context.abandoned_by, ClientGone)
        self._ledger.request_finished(route, outcome_of(status, gone=gone), status, context)


class _Watch:
    """Gives a request up when its client goes, until `end`."""

    __slots__ = ("_connection", "_context", "_gone", "_task")

    def __init__(self, connection: Connection | None, receive: Receive, context: RequestContext) -> None:
        self._context = context
        self._gone: asyncio.Event | None = None
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        if self._connection is not None:
            self._connection.on_lost = self.lost
            if self._connection.lost:
                self.lost()
        else:
            self._task = asyncio.ensure_future(_wait_for_disconnect(receive, self.lost))

    def lost(self) -> None:
        if self._gone is not None:
            self._gone.set()
        _lost(self._context)

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
        if self._connection is not None:
            self._connection.on_lost = None
        if self._task is not None:
            self._task.cancel()


async def _wait_for_disconnect(receive: Receive, lost: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    lost()


def _lost(context: RequestContext) -> None:
    gone = ClientGone("The client has gone.")
    context.abandon(gone)
    context.abandoned_by = gone  # whatever else was the matter before: nobody gets to see the answer


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
