"""A captured request as one line of JSON, plain or as a CloudEvent.

A record has neither keys nor the client's address. Of the headers it has those that say how to read the body, and of
the query the values of our own parameters.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import socket
import zlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from service.monitoring.finished_request import FinishedRequest

KEPT_HEADERS: Final = (b"content-type", b"inference-header-content-length")
KNOWN_PARAMETERS: Final = (b"model", b"version", b"top_k")
"""Parameters of a query whose values are kept; any other is refused or ignored, and may hold what is secret."""

EVENT_TYPE: Final = "io.contraflow.prediction"

Line = Callable[[FinishedRequest, float, bool], bytes]
"""Writes a request that came at a time in seconds since 1970 as a line, with its body or without."""


def plain_line(finished: FinishedRequest, came: float, with_body: bool) -> bytes:
    """Return the record as one line of JSON."""
    return _with_contents(_record(finished, came), finished, with_body) + b"\n"


def event_line(finished: FinishedRequest, came: float, with_body: bool) -> bytes:
    """Return the record as the data of one CloudEvent 1.0, in the JSON format.

    Request and answer are one event. KServe's logger makes two of them, of types of its own, and can do so in front of
    this service too; in a file they would have to be joined again.
    """
    record, context = _record(finished, came), finished.context
    event = {
        "specversion": "1.0",
        "id": secrets.token_hex(16),  # the request's own may come twice
        "source": f"/contraflow/{quote(socket.gethostname(), safe='')}",
        "type": EVENT_TYPE,
        **({"subject": context.model} if context.model else {}),
        "time": record["time"],
        "datacontenttype": "application/json",
    }
    if context.trace is not None:
        event["traceparent"] = context.trace.header().decode()
    return b'%s,"data":%s}\n' % (_json(event)[:-1], _with_contents(record, finished, with_body))


FORMATS: Final[dict[str, Line]] = {"json": plain_line, "cloudevents": event_line}


def _record(finished: FinishedRequest, came: float) -> dict[str, Any]:
    """Return everything but body and answer."""
    context, fields, body = finished.context, finished.fields, finished.body
    return {
        "time": datetime.fromtimestamp(came, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": context.id,
        "trace_id": None if context.trace is None else context.trace.trace_id,
        "method": finished.method,
        "path": finished.path,
        "query": _kept(finished.query).decode("latin-1"),
        "headers": {name.decode(): fields[name].decode("latin-1") for name in KEPT_HEADERS if name in fields},
        "model": context.model or None,
        "status": finished.status,
        "latency_ms": round(1e3 * context.latency, 3),
        "stages_ms": {stage: round(1e3 * seconds, 3) for stage, seconds in context.stages.items()},
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }


def _with_contents(record: dict[str, Any], finished: FinishedRequest, with_body: bool) -> bytes:
    """Return a record as JSON, with body and answer. They are joined as they are: to go through them costs most."""
    body = b'"%s"' % b64encode(finished.body) if with_body else b"null"
    answer = _without_coding(finished.answer)
    try:
        json.loads(answer)
    except ValueError:  # binary tensors follow the JSON
        return b'%s,"body":%s,"answer":null,"answer_base64":"%s"}' % (_json(record)[:-1], body, b64encode(answer))
    return b'%s,"body":%s,"answer":%s}' % (_json(record)[:-1], body, answer.replace(b"\n", b" "))


def _without_coding(answer: bytes) -> bytes:
    """Undo the content coding of an answer of the open protocol; every answer begins as JSON or by such a mark."""
    if answer.startswith(b"\x1f\x8b"):
        return gzip.decompress(answer)
    return zlib.decompress(answer) if answer.startswith(b"\x78") else answer


def _kept(query: bytes) -> bytes:
    """Return the query without the values of parameters that are not ours."""
    if not query:
        return query
    pairs = [pair.partition(b"=") for pair in query.split(b"&")]
    return b"&".join([b"".join(pair) if unquote_to_bytes(pair[0]) in KNOWN_PARAMETERS else pair[0] for pair in pairs])


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
