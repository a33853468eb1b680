"""A request that is over, as those get it who keep a record of it: log, traces, capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from service.engine.ledger import RequestOutcome
from service.engine.request_context import RequestContext
from service.engine.trace_context import TraceContext


class FinishedRequest(NamedTuple):
    """One request, once its answer was handed over or its client has gone."""

    context: RequestContext
    """Its id, client, model, stages, runs and trace."""
    method: str
    """"-" if no request line was read, and the path is empty then."""
    path: str
    query: bytes
    route: str
    """Pattern of the address, under which it is counted."""
    status: int
    """0 if nothing was answered."""
    outcome: RequestOutcome
    received: int
    """Bytes of the body, after its content coding was undone."""
    sent: int
    """Bytes of the answer's body that were handed over."""
    fields: dict[bytes, bytes]
    """Headers of the request."""
    body: bytes
    answer: bytes
    """Body of the answer; empty for a file."""
    scheme: str = "http"
    error: Exception | None = None
    """Why it was refused or failed."""


Observer = Callable[[FinishedRequest], None]
"""Records a request. It is called on the event loop, after the answer was handed over, and must not raise or wait."""

BeginTrace = Callable[[TraceContext | None, str], TraceContext | None]
"""Returns the span under which a request is known, from its caller's span and its path.

That is a span of its own with a `parent`, if the request is to be recorded, and otherwise the caller's.
"""
