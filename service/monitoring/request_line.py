"""The log line of one request, as text and as named values.

    POST /predict?model=tiny 200 answered 3.120ms model=tiny@1 batch=4 decode=0.412 queue=1.203 run=1.311
    serialize=0.194 in=1234 out=312 client=10.0.0.7 id=7a68e79b00000002 trace=4bf92f3577b34da6a3ce929d0e0e4736

A value with a space, a quote or a character outside ASCII is written as a JSON string, so that no path can pass for
another field. docs/guide/watch-live-traffic.md lists the fields.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final

from service.contract.errors import ReportedError
from service.engine.request_context import STAGES
from service.monitoring.finished_request import FinishedRequest
from service.output.logs import Message
from service.output.printable import printable

LONGEST: Final = 200
"""Characters that are logged of a path, of a query, of a label and of the reason of a refusal."""

PLAIN: Final = re.compile(r"[!#-~]+")
"""Visible ASCII without a quote."""

TIMES: Final = tuple(f"{stage}_ms" for stage in STAGES)

SECRET: Final = re.compile("key|token|secret|pass|auth|sig|cred", re.IGNORECASE)
"""Parameters that may hold a secret: no endpoint takes one, but a caller may send it all the same."""


class RequestLine(Message):
    """Says in the log how one request went. Strangers' text in it is bounded, and no key is in it.

    It keeps neither the bodies nor the context, which belongs to the event loop.
    """

    __slots__ = (
        "_batch", "_caller", "_client", "_error", "_id", "_method", "_model", "_outcome", "_path", "_query",
        "_received", "_route", "_seconds", "_sent", "_stages", "_status", "_top_labels", "_trace",
    )  # fmt: skip

    def __init__(self, request: FinishedRequest) -> None:
        context = request.context
        self._method, self._path, self._query = request.method, request.path, request.query
        self._route, self._status, self._outcome = request.route, request.status, request.outcome
        self._received, self._sent = request.received, request.sent
        self._error = _reason(request.error) if request.error is not None else None
        self._id, self._client, self._trace = context.id, context.client, context.trace
        self._caller = context.caller
        self._model, self._top_labels = context.model, context.top_labels
        self._batch = max([run.batch for run in context.runs]) if context.runs else 0
        self._stages, self._seconds = tuple(context.stages.values()), context.latency

    def __str__(self) -> str:
        query = shown_query(self._query)
        target = word(f"{shown_path(self._path)}?{query}" if query else shown_path(self._path))
        pieces = [f"{self._method} {target} {self._status or '-'} {self._outcome} {1e3 * self._seconds:.3f}ms"]
        if self._model:
            pieces.append(f"model={self._model}")
        if self._batch:
            pieces.append(f"batch={self._batch}")
        pieces += [f"{stage}={1e3 * spent:.3f}" for stage, spent in zip(STAGES, self._stages, strict=True) if spent]
        pieces.append(f"in={self._received} out={self._sent}")
        if self._client:
            pieces.append(f"client={word(_host(self._client))}")
        if self._caller:
            pieces.append(f"caller={self._caller}")
        pieces.append(f"id={self._id}")
        if self._trace is not None:
            pieces.append(f"trace={self._trace.trace_id}")
        if self._top_labels:
            pieces.append(f"top={word(printable(','.join(self._top_labels), LONGEST))}")
        if self._error is not None:
            pieces += [f"{name}={word(text)}" for name, text in self._error.items()]
        return " ".join(pieces)

    def summary(self) -> str:
        return f"{self._method} {shown_path(self._path)} {self._status or '-'}"

    def fields(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "request_id": self._id,
            "method": self._method,
            "path": shown_path(self._path),
            "route": self._route,
            "status": self._status,
            "outcome": self._outcome,
            "received_bytes": self._received,
            "sent_bytes": self._sent,
            **{name: round(1e3 * seconds, 3) for name, seconds in zip(TIMES, self._stages, strict=True)},
            "total_ms": round(1e3 * self._seconds, 3),
        }
        if self._query:
            values["query"] = shown_query(self._query)
        if self._model:
            values["model"] = self._model
        if self._batch:
            values["batch_size"] = self._batch
        if self._client:
            values["client"] = _host(self._client)
        if self._caller:
            values["caller"] = self._caller
        if self._trace is not None:
            values |= {"trace_id": self._trace.trace_id, "span_id": self._trace.span_id}
        if self._top_labels:
            values["top_labels"] = [printable(label, LONGEST) for label in self._top_labels]
        if self._error is not None:
            values |= self._error
        return values


def word(text: str) -> str:
    """Return `text` as one word: as it is if it is plain, else as a JSON string."""
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def shown_path(path: str) -> str:
    """Return a path that is fit for a log; "-" where no request line was read."""
    return printable(path, LONGEST) or "-"


def shown_query(query: bytes) -> str:
    """Return the beginning of a query without the values of parameters that may be secrets."""
    return _shown_query(query[: LONGEST + 1]) if query else ""


@lru_cache(maxsize=256)
def _shown_query(query: bytes) -> str:
    """Clients repeat their queries."""
    shown = query.decode("latin-1")
    if SECRET.search(shown):
        parts = [part.partition("=") for part in shown.split("&")]
        shown = "&".join([f"{name}={'…' if SECRET.search(name) else value}" for name, _, value in parts])
    return printable(shown, LONGEST)


def _host(client: Any) -> str:
    """Return the address of a (host, port)."""
    return printable(str(client[0]), LONGEST)


def _reason(error: Exception) -> dict[str, str]:
    """Return why a request was not answered; of an error that nobody foresaw the log has its own line."""
    if not isinstance(error, ReportedError):
        return {"error": type(error).__name__}
    return {"error": error.slug, "detail": printable(error.detail, LONGEST)}
