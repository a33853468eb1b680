"""JSON of a body, looked at before it is parsed: what is small in bytes can be large in objects."""

from __future__ import annotations

import json
from typing import Any

from service.errors import MalformedRequest, TooLarge

MAX_JSON_VALUES = 100_000


def parse_json(text: bytes, *, too_many: str, unreadable: str) -> Any:
    """The document of at most `MAX_JSON_VALUES` values.

    Raises:
        TooLarge: it has more, which `too_many` says.
        MalformedRequest: it is no JSON, which `unreadable` says.
    """
    if text.count(b"[") + text.count(b"{") + text.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(too_many)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedRequest(unreadable) from None
