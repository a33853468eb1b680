"""A JSON body's values and escapes are counted, and limited, before it is parsed."""

from __future__ import annotations

import pytest

from service.errors import MalformedRequest, TooLarge
from service.http.requests.json_bodies import MAX_JSON_ESCAPES, MAX_JSON_VALUES, parse_json


def parsed(text: bytes) -> object:
    return parse_json(text, too_many="too many", unreadable="unreadable")


def test_as_many_values_and_escapes_as_are_allowed_are_read() -> None:
    assert parsed(b"[" + b"1," * (MAX_JSON_VALUES - 2) + b"1]") == [1] * (MAX_JSON_VALUES - 1)
    assert parsed(b'"' + b"\\n" * MAX_JSON_ESCAPES + b'"') == "\n" * MAX_JSON_ESCAPES


def test_one_more_is_refused() -> None:
    with pytest.raises(TooLarge, match="too many"):
        parsed(b"[" + b"1," * MAX_JSON_VALUES + b"1]")
    with pytest.raises(TooLarge, match=f"more than {MAX_JSON_ESCAPES} escapes"):
        parsed(b'"' + b"\\n" * (MAX_JSON_ESCAPES + 1) + b'"')


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 5000, b"\xff", b"nan"])
def test_what_is_no_json_is_said(text: bytes) -> None:
    with pytest.raises(MalformedRequest, match="unreadable"):
        parsed(text)
