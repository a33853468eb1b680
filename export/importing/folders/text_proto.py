"""A small reader of protobuf's text form, for the few fields of Triton's `config.pbtxt`.

A message becomes a dict from field to the list of its values; a value is a message, a text, a number, or the name of
an enumerated value, as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from export.importing.flags.errors import OptionMismatch

Message = dict[str, list[Any]]

TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*') | (?P<mark>[{}\[\]<>:,;])
    | (?P<word>[^\s{}\[\]<>:,;"'#]+)""",
    re.VERBOSE,
)
CLOSING = {"{": "}", "<": ">"}
DEEPEST = 32


def parse_text_proto(text: str, name: str) -> Message:
    """Parse a document; OptionMismatch names the file `name` where it is not in text form."""
    try:
        tokens = list(_tokens(text))
        message, rest = _message(tokens, 0, None, 0)
    except (IndexError, ValueError, SyntaxError) as error:
        raise OptionMismatch(f"{name}: it is not protobuf's text form") from error
    assert rest == len(tokens)
    return message


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"no token at {place}")
        place = found.end()
        if found.lastgroup:
            yield found.lastgroup, found[0]


def _message(tokens: list[tuple[str, str]], at: int, closing: str | None, depth: int) -> tuple[Message, int]:
    """Read fields up to the mark `closing`, or to the end without one; return them and the place after it."""
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    fields: Message = {}
    while at < len(tokens) or closing is not None:
        kind, word = tokens[at]
        if (kind, word) == ("mark", closing):
            return fields, at + 1
        if kind == "mark" and word in ",;":
            at += 1
            continue
        if kind != "word":
            raise ValueError(f"a field's name is needed, not {word}")
        at += 1
        if tokens[at] == ("mark", ":"):
            at += 1
        values, at = _values(tokens, at, depth)
        fields.setdefault(word, []).extend(values)
    return fields, at


def _values(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[list[Any], int]:
    """Read one value, or a list of them."""
    if tokens[at] != ("mark", "["):
        value, at = _value(tokens, at, depth)
        return [value], at
    values: list[Any] = []
    at += 1
    while tokens[at] != ("mark", "]"):
        if tokens[at] == ("mark", ","):
            at += 1
            continue
        value, at = _value(tokens, at, depth)
        values.append(value)
    return values, at + 1


def _value(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Any, int]:
    kind, word = tokens[at]
    if kind == "mark":
        return _message(tokens, at + 1, CLOSING[word], depth + 1) if word in CLOSING else _fail(word)
    if kind == "text":
        text = ast.literal_eval(word)
        while at + 1 < len(tokens) and tokens[at + 1][0] == "text":  # texts side by side are one
            at += 1
            text += ast.literal_eval(tokens[at][1])
        return text, at + 1
    return (int(word) if re.fullmatch(r"-?\d+", word) else word), at + 1


def _fail(word: str) -> Any:
    raise ValueError(f"a value is needed, not {word}")
