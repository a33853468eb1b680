"""A request that is over, as a span of the server with children for its decoding, its waiting and its runs.

Attributes are those of OpenTelemetry's conventions for HTTP servers, and our own, which begin with `contraflow.` and
are called as the labels of the metrics. The spans are made with the times that the request's context remembers, without
the SDK's tracer, which would take eleven times as long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from service import __version__
from service.monitoring.request_line import shown_path, shown_query
from service.monitoring.telemetry.record import Record

SCOPE: Final = InstrumentationScope("contraflow", __version__, "https://opentelemetry.io/schemas/1.44.0")

METHODS: Final = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
"""Methods that are attributes as they are; others are `_OTHER`."""

NO_ROUTE: Final = "other"
"""The route of a request for an address that does not exist."""

UNSET: Final = Status(StatusCode.UNSET)
ERROR: Final = Status(StatusCode.ERROR)

Attributes = dict[str, str | int]
Part = tuple[str, float, float, Attributes]
"""Name of a span, its beginning and end on the monotonic clock, and its attributes."""


class SpanMaker:
    """Makes the spans of one service."""

    def __init__(self, resource: Resource, ids: IdGenerator) -> None:
        self._resource, self._ids = resource, ids

    def spans(self, record: Record) -> list[ReadableSpan]:
        """Return the span of a request, and then its children."""
        trace = record.trace
        trace_id, flags = int(trace.trace_id, 16), TraceFlags(trace.flags)
        state = TraceState.from_header([trace.state]) if trace.state else None
        own = SpanContext(trace_id, int(trace.span_id, 16), False, flags, state)
        caller = SpanContext(trace_id, int(trace.parent, 16), True, flags, state) if trace.parent else None
        epoch = time.time_ns() - time.monotonic_ns()  # now: the system's clock may have been set since the last one
        status = ERROR if _failed(record) else UNSET
        whole = _name(record), record.received, record.received + record.latency, _attributes(record)
        spans = [self._span(own, caller, epoch, whole, SpanKind.SERVER, status)]
        for part in _parts(record):
            place = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
            spans.append(self._span(place, own, epoch, part, SpanKind.INTERNAL, UNSET))
        return spans

    def _span(
        self, place: SpanContext, parent: SpanContext | None, epoch: int, part: Part, kind: SpanKind, status: Status
    ) -> ReadableSpan:
        name, began, ended, attributes = part
        return ReadableSpan(
            name, place, parent, self._resource, attributes, kind=kind, status=status, instrumentation_scope=SCOPE,
            start_time=epoch + round(1e9 * began), end_time=epoch + round(1e9 * ended),
        )  # fmt: skip


def _failed(record: Record) -> bool:
    return record.status >= 500 or record.outcome == "failed"


def _name(record: Record) -> str:
    method = record.method if record.method in METHODS else "HTTP"
    return method if record.route == NO_ROUTE else f"{method} {record.route}"


def _attributes(record: Record) -> Attributes:
    attributes: Attributes = {
        "http.request.method": record.method if record.method in METHODS else "_OTHER",
        "url.scheme": record.scheme,
        "url.path": shown_path(record.path),
        "http.request.body.size": record.body_size,
        "http.response.body.size": record.answer_size,
        "contraflow.request_id": record.request_id,
        "contraflow.outcome": record.outcome,
    }
    if record.route != NO_ROUTE:
        attributes["http.route"] = record.route
    if record.query:
        attributes["url.query"] = shown_query(record.query)
    if record.status:
        attributes["http.response.status_code"] = record.status
    if _failed(record):
        attributes["error.type"] = str(record.status or record.outcome)
    if isinstance(record.client, tuple):
        attributes["client.address"] = str(record.client[0])
    if record.user_agent:
        attributes["user_agent.original"] = record.user_agent.decode("latin-1")
    if record.model:
        attributes["contraflow.model"] = record.model
    return attributes | _server(record.host.decode("latin-1"))


def _server(host: str) -> Attributes:
    """Return the address that the client has asked for the service at, from the header `Host`."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return {"server.address": name.strip("[]"), "server.port": int(port[:5])}
    return {"server.address": host.strip("[]")} if host else {}


def _parts(record: Record) -> Iterator[Part]:
    """Yield the children; one that did not begin, or has no end, is left out."""
    for decoding in record.decodings:
        yield "decode", decoding.began, decoding.ended, {"contraflow.images": decoding.images}
    for run in record.runs:
        model, _, version = run.model.partition("@")
        yield "queue", run.submitted, run.taken, {}
        if run.decoded > run.taken and not record.decodings:
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
    if not record.runs and record.queued:
        queued = record.received + record.decoding  # and then it was given up
        yield "queue", queued, queued + record.queued, {}
