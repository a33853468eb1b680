"""Reads long lists of numbers in a JSON text piece by piece.

Python's JSON parser holds the interpreter from the first byte to the last, a second for the 16 MB that a body may
have, and makes an object of each number. In pieces, the event loop gets its turn between two of them, and only the
objects of one piece exist at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from service.errors import MalformedRequest

KEY = re.compile(rb'"data"\s*:\s*(?=\[)')
LONG_LIST = 2**14
"""Lists of at least this many bytes are taken out."""
NUMBERS_PIECE = 2**16
"""Bytes of a list that are read at a time, at least; a piece ends at a comma."""
FLAT = bytes.maketrans(b"[]", b"  ")


def take_out_lists(text: bytes) -> tuple[bytes, list[bytes]]:
    """Return the text with every long `"data": [numbers…]` replaced by an index, and the lists themselves.

    Only a list of numbers is taken out: it ends at the first `}` or `"`, which no number contains.
    """
    kept: list[bytes] = []
    lists: list[bytes] = []
    done = position = 0
    while (position := text.find(b'"data"', position)) >= 0:
        key = KEY.match(text, position)
        position = start = key.end() if key else position + 1
        end = _end_of_list(text, start) if key else start
        if end - start >= LONG_LIST:
            kept += [text[done:start], str(len(lists)).encode()]
            lists.append(text[start:end])
            done = position = end
    return (b"".join([*kept, text[done:]]) if lists else text), lists


def _end_of_list(text: bytes, start: int) -> int:
    end = text.find(b'"', start)
    end = len(text) if end < 0 else end
    brace = text.find(b"}", start, end)
    return text.rfind(b"]", start, end if brace < 0 else brace) + 1


def count_of(text: bytes) -> int:
    """Return how many numbers a list has, if it is one."""
    return text.count(b",") + 1


def pieces_of(text: bytes) -> Iterator[list[object]]:
    """Return the values of a list, nested or flat, some thousands at a time.

    Raises:
        MalformedRequest: it is no list of numbers.
    """
    if text.count(b"[") != text.count(b"]"):
        raise MalformedRequest("The body is not valid JSON.")
    flat = text.translate(FLAT)
    start = 0
    while start < len(flat):
        comma = flat.find(b",", start + NUMBERS_PIECE)
        end = len(flat) if comma < 0 else comma
        yield _read(flat[start:end])
        start = end + 1


def _read(piece: bytes) -> list[object]:
    if len(piece) > 2 * NUMBERS_PIECE and not piece.isspace():
        raise MalformedRequest("A number in the JSON body is too long.")
    try:
        values: list[object] = json.loads(b"[%s]" % piece)
    except ValueError:
        raise MalformedRequest("The body is not valid JSON.") from None
    return values
