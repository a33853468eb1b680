"""Keeps what the spans of a request are made of; the event loop takes it when the request is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.engine.ledger import RequestOutcome
from service.engine.request_context import Decoding, GraphRun
from service.engine.trace_context import TraceContext
from service.monitoring.finished_request import FinishedRequest

LONGEST: Final = 512
"""Bytes or characters that are kept of what a client wrote."""


class Record(NamedTuple):
    """One request that is recorded. It waits to be sent, so it holds neither bodies nor errors with their frames."""

    trace: TraceContext
    request_id: str
    client: object
    model: str
    received: float
    latency: float
    decoding: float
    """Seconds, as the two around it."""
    queued: float
    decodings: Sequence[Decoding]
    runs: Sequence[GraphRun]
    method: str
    scheme: str
    host: bytes
    path: str
    query: bytes
    user_agent: bytes
    route: str
    status: int
    outcome: RequestOutcome
    body_size: int
    answer_size: int


def record_of(finished: FinishedRequest, trace: TraceContext) -> Record:
    context, fields = finished.context, finished.fields
    return Record(
        trace, context.id, context.client, context.model,
        context.received, context.latency, context.stages["decode"], context.stages["queue"],
        context.decodings, context.runs,
        finished.method, finished.scheme, fields.get(b"host", b"")[:LONGEST], finished.path[:LONGEST],
        finished.query[:LONGEST], fields.get(b"user-agent", b"")[:LONGEST], finished.route,
        finished.status, finished.outcome, finished.received, finished.sent,
    )  # fmt: skip
