"""Parses JSON bodies after a check of their size in objects, which can be large for few bytes."""

from __future__ import annotations

import json
from typing import Any

from service.errors import MalformedRequest, TooLarge

MAX_JSON_VALUES = 100_000
MAX_JSON_ESCAPES = 2**20
"""Backslashes that a body may have: with millions of them, parsing 16 MB holds the interpreter for 70 ms.

Base64 in lines of 76 characters, with escaped slashes too, has half as many in 16 MB.
"""


def parse_json(text: bytes, *, too_many: str, unreadable: str) -> Any:
    """Parse a document of at most `MAX_JSON_VALUES` values.

    Raises:
        TooLarge: more values (with the message `too_many`), or more than `MAX_JSON_ESCAPES` escapes.
        MalformedRequest: not JSON (with the message `unreadable`).
    """
    if text.count(b"[") + text.count(b"{") + text.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(too_many)
    if text.count(b"\\") > MAX_JSON_ESCAPES:
        raise TooLarge(f"The JSON has more than {MAX_JSON_ESCAPES} escapes.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedRequest(unreadable) from None
