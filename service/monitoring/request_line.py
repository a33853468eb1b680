"""The log line of one request, as text and as named values.

    POST /predict?model=tiny 200 answered 3.120ms model=tiny@1 batch=4 decode=0.412 queue=1.203 run=1.311
    serialize=0.194 in=1234 out=312 client=10.0.0.7 id=7a68e79b00000002 trace=4bf92f3577b34da6a3ce929d0e0e4736

A value with a space, a quote or a character outside ASCII is written as a JSON string, so that no path can pass for
another field. docs/monitoring.md lists the fields.
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
    """What the log says of one request. Strangers' text in it is bounded, and no key is in it."""

    __slots__ = ("_request",)

    def __init__(self, request: FinishedRequest) -> None:
        self._request = request

    def __str__(self) -> str:
        request, context = self._request, self._request.context
        query = shown_query(request.query)
        target = word(f"{shown_path(request.path)}?{query}" if query else shown_path(request.path))
        pieces = [f"{request.method} {target} {request.status or '-'} {request.outcome} {1e3 * context.latency:.3f}ms"]
        if context.model:
            pieces.append(f"model={context.model}")
        if context.runs:
            pieces.append(f"batch={max([run.batch for run in context.runs])}")
        pieces += [f"{stage}={1e3 * seconds:.3f}" for stage, seconds in context.stages.items() if seconds]
        pieces.append(f"in={request.received} out={request.sent}")
        if context.client:
            pieces.append(f"client={word(_host(context.client))}")
        if context.caller:
            pieces.append(f"caller={context.caller}")
        pieces.append(f"id={context.id}")
        if context.trace is not None:
            pieces.append(f"trace={context.trace.trace_id}")
        if context.top_labels:
            pieces.append(f"top={word(','.join(context.top_labels))}")
        if request.error is not None:
            pieces += [f"{name}={word(text)}" for name, text in _reason(request.error).items()]
        return " ".join(pieces)

    def summary(self) -> str:
        return f"{self._request.method} {shown_path(self._request.path)} {self._request.status or '-'}"

    def fields(self) -> dict[str, Any]:
        request, context = self._request, self._request.context
        values: dict[str, Any] = {
            "request_id": context.id,
            "method": request.method,
            "path": shown_path(request.path),
            "route": request.route,
            "status": request.status,
            "outcome": request.outcome,
            "received_bytes": request.received,
            "sent_bytes": request.sent,
            **{name: round(1e3 * seconds, 3) for name, seconds in zip(TIMES, context.stages.values(), strict=True)},
            "total_ms": round(1e3 * context.latency, 3),
        }
        if request.query:
            values["query"] = shown_query(request.query)
        if context.model:
            values["model"] = context.model
        if context.runs:
            values["batch_size"] = max([run.batch for run in context.runs])
        if context.client:
            values["client"] = _host(context.client)
        if context.caller:
            values["caller"] = context.caller
        if context.trace is not None:
            values |= {"trace_id": context.trace.trace_id, "span_id": context.trace.span_id}
        if context.top_labels:
            values["top_labels"] = [printable(label, LONGEST) for label in context.top_labels]
        if request.error is not None:
            values |= _reason(request.error)
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
