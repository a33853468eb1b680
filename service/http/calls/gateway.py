"""The two entries of a request: from the server's callback if its body is there, else as an ASGI application.

Both make a `Call` and take it to the same endpoint. A call whose body is small and there is begun in the callback:
if its endpoint needs no task, as a prediction of one small picture does not, none is made. A task, its future
and its timer cost as much as everything else around the run.

There are no middleware classes: between the server and an endpoint they would hide that the client has gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Lifespan, Receive, Scope, Send

from service.engine.ledger import outcome_of
from service.errors import ServiceError
from service.http.answers.responses import CLOSE, Answer, error_answer
from service.http.calls.call import Call, Endpoint, context_of, identifying
from service.http.calls.exchange import EXCHANGE, Exchange
from service.http.calls.service_parts import ServiceParts
from service.http.requests.heads import PartOfHead
from service.monitoring.finished_request import FinishedRequest


class Gateway:
    """The application that the server runs."""

    def __init__(
        self, service: ServiceParts, lifespan: Lifespan[Any] | None = None, metrics: Gateway | None = None
    ) -> None:
        """`lifespan` is the context to serve in; `metrics` is the application of `metrics_port`."""
        self.service = service
        self.root = Router(lifespan=lifespan)
        """Answers the server's lifespan messages."""
        self.metrics = metrics
        self.longest_begun_body = service.bodies.uncounted
        """Bytes up to which a body that has arrived whole is for `begin`."""

    def begin(self, scope: Scope, body: bytes, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Begin a request whose body is there; return what is left to do in a task, if anything is."""
        call = Call(scope, exchange, self.service)
        try:
            call.context.caller = self.service.access.check(call.method, call.path, call.fields)
            if call.method != "GET":
                call.body = body
            call.start()
            if body and b"content-encoding" in call.fields:
                pending: Awaitable[Answer | Response] | None = _decode_and_begin(call)
            else:
                pending = _begin(call)
        except Exception as error:
            call.answer(error)
            return None
        return None if pending is None else call.answer_when(pending)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose body is yet to be read: ASGI, with our server's `Exchange` as an extension."""
        if scope["type"] == "lifespan":
            await self.root(scope, receive, send)
            return
        exchange: Exchange = scope["extensions"].pop(EXCHANGE)  # they refer to each other: garbage, if left
        call = Call(scope, exchange, self.service)
        await call.answer_when(_read_and_begin(call, receive))

    def drop(self, scope: Scope) -> None:
        """Count a request that came whole or in part, and whose client has gone before its turn."""
        fields = dict(scope["headers"])
        context = context_of(fields, scope["client"])
        route = self.service.addresses.pattern(scope["path"])
        self.service.ledger.request_finished(route, "cancelled", 0, context)
        method, path, query = scope["method"], scope["path"], scope["query_string"]
        finished = FinishedRequest(context, method, path, query, route, 0, "cancelled", 0, 0, fields, b"", b"")
        self.service.observe(finished)

    def refuse(self, error: ServiceError, head: PartOfHead, client: object, write: Callable[[Answer], None]) -> None:
        """Have `write` answer input that never becomes a request, and have it observed.

        It is not counted as a request; `contraflow_connections_ended` counts it.
        """
        fields = dict(head.headers)
        context = context_of(fields, client)
        status, headers, body = error_answer(error, head.path, context.id)
        headers += [(b"content-length", b"%d" % len(body)), *identifying(context), CLOSE]
        if self.service.cross_origin is not None:
            headers += self.service.cross_origin.headers(fields)
        context.account("serialize")
        write(Answer(status, headers, body))
        finished = FinishedRequest(
            context, head.method, head.path, head.query, self.service.addresses.pattern(head.path), status,
            outcome_of(status, gone=False), 0, len(body), fields, b"", body, error=error,
        )  # fmt: skip
        self.service.observe(finished)


async def _read_and_begin(call: Call, receive: Receive) -> Answer | Response:
    call.context.caller = call.service.access.check(call.method, call.path, call.fields)
    await call.read_body(receive)
    call.start()
    if call.exchange.lost:
        call.give_up()
    return await _decode_and_begin(call)


async def _decode_and_begin(call: Call) -> Answer | Response:
    await call.decode_body()
    pending = _begin(call)
    assert pending is not None
    return await pending


def _begin(call: Call) -> Awaitable[Answer | Response] | None:
    """Call the endpoint, and return what it returns: see `Endpoint`.

    Raises:
        NotFound, MethodNotAllowed: there is none at this address, or not for this method.
        ServiceError: the endpoint refuses the call.
    """
    if call.method == "OPTIONS":
        return _allowed_methods(call)
    route, call.parameters = call.service.addresses.find(call.method, call.path)
    call.route = route.path
    endpoint: Endpoint = route.endpoint
    return endpoint(call)


async def _allowed_methods(call: Call) -> Answer:
    addresses, cross_origin = call.service.addresses, call.service.cross_origin
    if cross_origin is not None and cross_origin.is_preflight(call.fields):
        return Answer(200, cross_origin.permission(call.fields, addresses.allow_here_or_anywhere(call.path)), b"")
    return Answer(200, [(b"allow", addresses.allow(call.path).encode())], b"")
