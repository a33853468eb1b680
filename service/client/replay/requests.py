"""A captured request as it is sent again, to another model if wanted."""

from __future__ import annotations

import json
import re
import string
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus

from service.monitoring.capture.reading import CapturedRequest

ADDRESS: Final = re.compile(r"(/v2/models/)[^/]+(?:/versions/[^/]+)?(/infer)")
CHOOSING: Final = ("model", "version")
"""Parameters and fields that choose the model."""
FIELD: Final = re.compile(rb'name="?(?:model|version)"?[;\r\n]')
"""The head of a multipart body's part that chooses the model."""


NOT_KEPT: Final = "the body was not kept"


class NotReplayed(Exception):
    """A request that cannot be sent again; the message is the reason, as several requests may have it."""


class Outgoing(NamedTuple):
    """A request as it is sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def outgoing(captured: CapturedRequest, model: str | None) -> Outgoing:
    """Return the request, for the same model or for `model`, a name or name@version.

    Raises:
        NotReplayed: its body was not kept, or says in a form that is not changed which model it is for.
    """
    if captured.body is None:
        raise NotReplayed(NOT_KEPT)
    path, query, body = quote(captured.path, safe="/%:@"), _ascii(captured.query), captured.body
    if model is not None:
        path, query, body = _for_model(model, path, query, captured.headers.get("content-type", ""), body)
    headers = {**captured.headers, "X-Request-Id": captured.id}
    return Outgoing(captured.method, f"{path}?{query}" if query else path, headers, body)


def _for_model(model: str, path: str, query: str, content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """Return path, query and body that choose another model, where the captured one was chosen."""
    name, _, version = model.partition("@")
    pairs = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in CHOOSING]
    if match := ADDRESS.fullmatch(path):
        versions = f"/versions/{version}" if version else ""
        return f"{match[1]}{quote(name, safe='')}{versions}{match[2]}", "&".join(pairs), body
    pairs.append(f"model={quote_plus(name)}")
    if version:
        pairs.append(f"version={version}")
    return path, "&".join(pairs), _without_model(content_type, body)


def _without_model(content_type: str, body: bytes) -> bytes:
    """Return a body whose fields, which win over the query, do not choose the model."""
    if content_type.lower().startswith("multipart/"):
        if FIELD.search(body):
            raise NotReplayed("its multipart form names the model, which --model does not change")
        return body
    if not body.lstrip().startswith(b"{"):
        return body
    try:
        form = json.loads(body)
    except ValueError:
        return body  # it is refused by either model
    return json.dumps({name: value for name, value in form.items() if name not in CHOOSING}).encode()


def _ascii(query: str) -> str:
    """Return the query with everything encoded that a request line cannot hold."""
    return quote(query, safe=string.punctuation, encoding="latin-1")
