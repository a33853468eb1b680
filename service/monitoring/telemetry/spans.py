"""A request that is over, as a span of the server with children for its decoding, its waiting and its runs.

Attributes are those of OpenTelemetry's conventions for HTTP servers, and our own, which begin with `contraflow.` and
are called as the labels of the metrics. The spans are made at once, with the times that the request's context
remembers: through a tracer they would take eleven times as long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from service import __version__
from service.engine.request_context import RequestContext
from service.engine.trace_context import TraceContext
from service.monitoring.finished_request import FinishedRequest

SCOPE: Final = InstrumentationScope("contraflow", __version__, "https://opentelemetry.io/schemas/1.44.0")

METHODS: Final = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
"""Methods that are attributes as they are; others are `_OTHER`."""

NO_ROUTE: Final = "other"
"""The route of a request for an address that does not exist."""

LONGEST: Final = 512
"""Characters that are kept of what a client wrote."""

OK: Final = Status(StatusCode.UNSET)
ERROR: Final = Status(StatusCode.ERROR)

Attributes = dict[str, str | int]
Part = tuple[str, float, float, Attributes]
"""Name of a child, its beginning and end on the monotonic clock, and its attributes."""


def spans_of(
    finished: FinishedRequest, trace: TraceContext, parent: str, resource: Resource, ids: IdGenerator
) -> list[ReadableSpan]:
    """Return the spans of a request that is recorded as `trace`; `parent` is the caller's span, or "" without one."""
    context = finished.context
    trace_id, flags, state = int(trace.trace_id, 16), TraceFlags(trace.flags), trace_state(trace.state)
    own = SpanContext(trace_id, int(trace.span_id, 16), False, flags, state)
    caller = SpanContext(trace_id, int(parent, 16), True, flags, state) if parent else None
    epoch = time.time_ns() - time.monotonic_ns()  # now: the system's clock may have been set since the last request

    def span(
        place: SpanContext, within: SpanContext | None, part: Part, kind: SpanKind, status: Status
    ) -> ReadableSpan:
        name, began, ended, attributes = part
        return ReadableSpan(
            name, place, within, resource, attributes, kind=kind, status=status, instrumentation_scope=SCOPE,
            start_time=epoch + round(1e9 * began), end_time=epoch + round(1e9 * ended),
        )  # fmt: skip

    failed = finished.status >= 500 or finished.outcome == "failed"
    whole = _name(finished), context.received, context.received + context.latency, _attributes(finished, failed)
    return [
        span(own, caller, whole, SpanKind.SERVER, ERROR if failed else OK),
        *[
            span(SpanContext(trace_id, ids.generate_span_id(), False, flags, state), own, part, SpanKind.INTERNAL, OK)
            for part in _parts(context)
        ],
    ]


def trace_state(header: str) -> TraceState | None:
    return TraceState.from_header([header]) if header else None


def _method(finished: FinishedRequest) -> str:
    return finished.method if finished.method in METHODS else "_OTHER"


def _name(finished: FinishedRequest) -> str:
    method = _method(finished)
    method = "HTTP" if method == "_OTHER" else method
    return method if finished.route == NO_ROUTE else f"{method} {finished.route}"


def _attributes(finished: FinishedRequest, failed: bool) -> Attributes:
    context, fields = finished.context, finished.fields
    attributes: Attributes = {
        "http.request.method": _method(finished),
        "url.scheme": finished.scheme,
        "url.path": finished.path[:LONGEST],
        "http.request.body.size": finished.received,
        "http.response.body.size": finished.sent,
        "contraflow.request_id": context.id,
        "contraflow.outcome": finished.outcome,
    }
    if finished.route != NO_ROUTE:
        attributes["http.route"] = finished.route
    if finished.query:
        attributes["url.query"] = _text(finished.query)
    if finished.status:
        attributes["http.response.status_code"] = finished.status
    if failed:
        attributes["error.type"] = str(finished.status or finished.outcome)
    if isinstance(context.client, tuple):
        attributes["client.address"] = str(context.client[0])
    if b"user-agent" in fields:
        attributes["user_agent.original"] = _text(fields[b"user-agent"])
    if context.model:
        attributes["contraflow.model"] = context.model
    return attributes | _server(fields)


def _server(fields: Mapping[bytes, bytes]) -> Attributes:
    """Return the address that the client has asked for the service at."""
    host = _text(fields.get(b"host", b""))
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return {"server.address": name.strip("[]"), "server.port": int(port)}
    return {"server.address": host.strip("[]")} if host else {}


def _text(given: bytes) -> str:
    return given[:LONGEST].decode("latin-1")


def _parts(context: RequestContext) -> Iterator[Part]:
    """Yield the children; one that did not begin, or has no end, is left out."""
    for decoding in context.decodings:
        yield "decode", decoding.began, decoding.ended, {"contraflow.images": decoding.images}
    for run in context.runs:
        model, _, version = run.model.partition("@")
        yield "queue", run.submitted, run.taken, {}
        if run.decoded > run.taken and not context.decodings:
            yield "decode", run.taken, run.decoded, {"contraflow.images": run.images}
        if run.finished > run.decoded > 0:
            described: Attributes = {
                "contraflow.model": model,
                "contraflow.version": version,
                "contraflow.graph": run.graph,
                "contraflow.images": run.images,
                "contraflow.batch_size": run.batch,
            }
            yield "run", run.decoded, run.finished, described
    if not context.runs and context.stages["queue"]:
        waited = context.received + context.stages["decode"]  # and then it was given up
        yield "queue", waited, waited + context.stages["queue"], {}
