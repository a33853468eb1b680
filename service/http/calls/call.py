"""One request, from its head to the entry in the ledger."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from service.engine.ledger import RequestOutcome, outcome_of
from service.engine.request_context import RequestContext
from service.engine.trace_context import read_trace
from service.errors import ClientGone, MalformedRequest
from service.http.answers.responses import CLOSE, Answer, RawHeaders, error_answer
from service.http.calls.exchange import Exchange
from service.http.calls.service_parts import ServiceParts
from service.http.requests.bodies import HeldBytes
from service.http.requests.heads import values_of
from service.monitoring.finished_request import FinishedRequest

log = logging.getLogger("contraflow.http")

ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._:;=+/@-]{1,128}")
"""A caller's `X-Request-Id` that is taken; in place of any other the request gets an id of ours."""

COMMON_HEADERS: RawHeaders = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Call(HTTPConnection[Any]):
    """A request, its body, its answer, and all that must be given back when it is answered.

    Starlette's properties (`headers`, `query_params`) read its head; endpoints get it as their only argument.
    Only the event loop's thread touches it.
    """

    def __init__(self, scope: Scope, exchange: Exchange, service: ServiceParts) -> None:
        self.scope = scope
        self.exchange = exchange
        self.service = service
        self.in_task = False
        """True once a task works on the call; its endpoint must return an awaitable then."""
        self.method: str = scope["method"] if scope["method"] != "HEAD" else "GET"
        self.path: str = scope["path"]
        self.parameters: dict[str, Any] = {}
        """Parameters in the path."""
        self.fields: dict[bytes, bytes] = dict(scope["headers"])
        self.context = context_of(self.fields, scope["client"])
        if service.begin_trace is not None:
            self.context.trace = service.begin_trace(self.context.trace, self.path)
        self.body = b""
        self.route: str | None = None
        """Pattern of the address, once its endpoint is found; the call is counted under it."""
        self._held: HeldBytes | None = None
        """Part of the budget for large bodies that this call's body takes."""
        self._status = 0
        self._answer = b""
        self._sent = 0
        """Bytes of the answer's body that were handed over."""
        self.error: Exception | None = None
        """Why the answer is a refusal or a failure; an endpoint sets it that writes the answer to an error itself."""
        self._client_gone: asyncio.Event | None = None

    # From the request to its endpoint

    async def read_body(self, receive: Receive) -> None:
        """Read the whole body within the limits; a GET has none.

        Raises:
            TooLarge, SlowRequest, QueueFull, ClientGone: as `BodyReader.read`.
        """
        if self.method == "GET":
            return
        self._held = HeldBytes()
        whole = self.exchange.whole_body()
        if whole is not None:
            self.body = self.service.bodies.take(whole, self._held)
        else:
            self.body = await self.service.bodies.read(self.fields, receive, self._held)

    def start(self) -> None:
        """Start the clock and the deadline, now that the body is there, and watch for a client that goes.

        Raises:
            MalformedRequest: `X-Deadline-Ms` is not a positive number.
        """
        deadlines, given = self.service.deadlines, self.fields.get(b"x-deadline-ms")
        seconds = deadlines.usual if given is None else min(_seconds(given), deadlines.usual)
        deadlines.start(self.context, seconds)
        self.exchange.on_lost = self.give_up

    async def decode_body(self) -> None:
        """Replace the body by its content, without its content coding.

        Raises:
            UnsupportedCoding, MalformedRequest, TooLarge, QueueFull: as `BodyReader.decoded`.
        """
        if self.body and b"content-encoding" in self.fields:
            self._held = self._held or HeldBytes()
            codings = b", ".join(values_of(self.scope["headers"], b"content-encoding"))
            self.body = await self.service.bodies.decoded(self.body, codings, self._held)

    def give_up(self) -> None:
        """Give up everything that is under way for a client that has gone."""
        if self._client_gone is not None:
            self._client_gone.set()
        gone = ClientGone("The client has gone.")
        self.context.abandon(gone)
        self.context.abandoned_by = gone  # whatever else was the matter before: nobody gets to see the answer

    # From the endpoint to the client

    def answer(self, outcome: Answer | Exception) -> None:
        """Write the answer at once, and finish; for a call without a task. Never raises."""
        answer = self._error_answer(outcome) if isinstance(outcome, Exception) else outcome
        if answer is not None:
            self._note(answer)
            self.exchange.write(answer.status, self._all_headers(answer), answer.body)
        self.finish()

    async def answer_when(self, pending: Awaitable[Answer | Response]) -> None:
        """Await the answer, or the error in its place, send it, and finish; for a call in a task."""
        self.in_task = True
        try:
            await self._send(await pending)
        except Exception as error:
            answer = self._error_answer(error)
            if answer is not None and not self._status:
                await self._send(answer)
        finally:
            self.finish()

    def finish(self) -> None:
        """End the deadline, release the body and write the ledger: the one end of every call."""
        self.exchange.on_lost = None
        service, context = self.service, self.context
        service.deadlines.end(context)
        if self._held is not None:
            service.bodies.release(self._held)
        route = self.route or service.addresses.pattern(self.path)
        outcome = outcome_of(self._status, gone=isinstance(context.abandoned_by, ClientGone))
        service.ledger.request_finished(route, outcome, self._status, context)
        if service.observers:
            service.observe(self._finished(route, outcome))
        self.error = None  # its traceback has this call: the two would keep the body until a garbage collection

    def _finished(self, route: str, outcome: RequestOutcome) -> FinishedRequest:
        return FinishedRequest(
            self.context, self.scope["method"], self.path, self.scope["query_string"], route, self._status, outcome,
            len(self.body), self._sent, self.fields, self.body, self._answer, self.scope["scheme"], self.error,
        )  # fmt: skip

    def _note(self, answer: Answer) -> None:
        self._status, self._answer = answer.status, answer.body
        self._sent = len(answer.body) if self.scope["method"] != "HEAD" else 0

    async def _send(self, answer: Answer | Response) -> None:
        if isinstance(answer, Response):
            await self._send_response(answer)
        else:
            self._note(answer)
            await self.exchange.answer(answer.status, self._all_headers(answer), answer.body)

    async def _send_response(self, response: Response) -> None:
        """Send a file: its messages go to the client one by one, or together if the first has the whole body."""
        self._client_gone = client_gone = asyncio.Event()
        held: Message = {}

        async def receive() -> Message:
            await client_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal held
            self._sent += len(message.get("body", b""))
            if message["type"] == "http.response.start":
                held = message
            elif self._status:
                await self.exchange.send(message)
            else:
                given = {name.lower() for name, _ in held["headers"]}
                headers = [*held["headers"], *(one for one in self._common_headers() if one[0] not in given)]
                self._status = held["status"]
                if message.get("more_body", False):
                    await self.exchange.send({**held, "headers": headers})
                    await self.exchange.send(message)
                else:
                    await self.exchange.answer(self._status, headers, message.get("body", b""))

        await response(self.scope, receive, send)

    def _all_headers(self, answer: Answer) -> RawHeaders:
        """Return the headers of a whole answer, with those that every answer has."""
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body)), *self._common_headers()]
        if answer.status in (408, 413):
            headers.append(CLOSE)
        return headers

    def _common_headers(self) -> RawHeaders:
        """Return the headers of every answer; the request's clock stands still from here on."""
        context = self.context
        context.account("serialize")
        headers = [
            *COMMON_HEADERS,
            *identifying(context),
            (b"server-timing", context.server_timing().encode()),
        ]
        if self.service.cross_origin is not None:
            headers += self.service.cross_origin.headers(self.fields)
        if self.service.lifecycle.draining:
            headers.append(CLOSE)
        return headers

    def _error_answer(self, error: Exception) -> Answer | None:
        """Return the answer to a call that failed; None if nobody is there to get it."""
        if isinstance(error, ClientGone):
            self.context.abandon(error)
            return None
        self.error = error
        answer = error_answer(error, self.path, self.context.id)
        if answer.status == 500:
            log.error("a request failed", exc_info=error, extra=self.context.ids())
        return answer


Endpoint = Callable[[Call], Awaitable[Answer | Response] | None]
"""Answers the calls of one address; their bodies have been read.

Most endpoints are coroutines that return an `Answer`, or a `Response` of Starlette's for a file. One that needs no task
may return None for a call that has none either, and give its answer by `Call.answer` later.
"""


def context_of(fields: Mapping[bytes, bytes], client: object) -> RequestContext:
    """Return the context of a request, with the id and the trace that its caller gave it."""
    given = fields.get(b"x-request-id")
    context = RequestContext(given.decode() if given is not None and ACCEPTABLE_ID.fullmatch(given) else None, client)
    if b"traceparent" in fields:
        context.trace = read_trace(fields)
    return context


def identifying(context: RequestContext) -> RawHeaders:
    """Return the headers by which the caller finds a request in the log and in its traces."""
    request_id = (b"x-request-id", context.id.encode())
    return [request_id] if context.trace is None else [request_id, (b"traceparent", context.trace.header())]


def _seconds(milliseconds: bytes) -> float:
    """Return what `X-Deadline-Ms` says, in seconds.

    Raises:
        MalformedRequest: not a positive number.
    """
    try:
        seconds = float(milliseconds) / 1e3
    except ValueError:
        seconds = float("nan")
    if not seconds > 0:
        raise MalformedRequest("X-Deadline-Ms must be a positive number of milliseconds.")
    return seconds
