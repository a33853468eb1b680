"""JSON of a body, looked at before it is parsed: what is small in bytes can be large in objects."""

from __future__ import annotations

import json
from typing import Any

from service.errors import MalformedRequest, TooLarge

MAX_JSON_VALUES = 100_000
MAX_JSON_ESCAPES = 2**20
"""Backslashes: the parser holds the interpreter for 70 ms over 16 MB with millions of them.

Base64 in lines of 76 characters, whose slashes are escaped too, has half as many in 16 MB.
"""


def parse_json(text: bytes, *, too_many: str, unreadable: str) -> Any:
    """The document of at most `MAX_JSON_VALUES` values.

    Raises:
        TooLarge: it has more, which `too_many` says, or more than `MAX_JSON_ESCAPES` escapes.
        MalformedRequest: it is no JSON, which `unreadable` says.
    """
    if text.count(b"[") + text.count(b"{") + text.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(too_many)
    if text.count(b"\\") > MAX_JSON_ESCAPES:
        raise TooLarge(f"The JSON has more than {MAX_JSON_ESCAPES} escapes.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedRequest(unreadable) from None
