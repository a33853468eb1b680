"""Writes answers: JSON, also with numbers that are not finite, and errors in the shape that their address promises."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

import numpy as np

from service.bundles.served_model import ServedModel
from service.engine.request_context import RequestContext
from service.errors import MethodNotAllowed, ServiceError, UnsupportedCoding, problem
from service.http.answers.negotiation import CODINGS

RawHeaders = list[tuple[bytes, bytes]]
"""Names, in lower case, and values."""


class Answer(NamedTuple):
    """A whole answer; the headers that all answers have are added when it is sent."""

    status: int
    headers: RawHeaders
    body: bytes


JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
PROBLEM = (b"content-type", b"application/problem+json")

ACCEPTED_CODINGS: Final = ", ".join(dict.fromkeys(CODINGS.values())).encode()
"""The `Accept-Encoding` of an answer to a body in another coding (RFC 9110, 15.5.16)."""

PROTOCOLS: Final = ("/v1", "/v2")
"""Addresses of KServe's older protocol and of the Open Inference Protocol, whose errors have a shape of their own."""


def to_json(content: Any) -> bytes:
    """Write plain values and numpy arrays as JSON; NaN and infinities become "NaN", "Infinity" and "-Infinity"."""
    try:
        text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(content), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def json_answer(content: Any, status: int = 200, headers: RawHeaders | None = None) -> Answer:
    """Return `content` as a JSON answer."""
    return Answer(status, [JSON, *(headers or ())], to_json(content))


def identity(model: ServedModel, request: RequestContext | str, *, float_network: bool = False) -> dict[str, Any]:
    """Return the members that every answer of a model begins with; `request` may be its id alone.

    `float_network` says that another graph than the forward one answers, which matters for int8 models.
    """
    record = model.bundle.quantized
    quantized = {} if record is None else {"quantized": record.of_network if float_network else record.of_forward}
    return {
        "model": model.name,
        "version": model.version,
        "bundle": model.digest,
        "execution_provider": model.execution_provider,
        **quantized,
        "request_id": request if isinstance(request, str) else request.id,
    }


def is_of_protocol(path: str) -> bool:
    """Return whether an address belongs to one of the two protocols."""
    return path.startswith(tuple(f"{prefix}/" for prefix in PROTOCOLS)) or path in PROTOCOLS


def error_answer(error: Exception, path: str, request_id: str) -> Answer:
    """Return the answer for `error`: problem+json, but the protocols' own shape under /v1 and /v2."""
    document = problem(error, request_id)
    status = int(document["status"])
    headers: RawHeaders = []
    if isinstance(error, ServiceError):
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if isinstance(error, MethodNotAllowed) and error.allowed:
            headers.append((b"allow", error.allowed.encode()))
        if isinstance(error, UnsupportedCoding):
            headers.append((b"accept-encoding", ACCEPTED_CODINGS))
    if is_of_protocol(path):
        status = 400 if status in (415, 422) else status
        return json_answer({"error": document["detail"]}, status, headers)
    return Answer(status, [PROBLEM, *headers], to_json(document))
