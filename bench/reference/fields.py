"""A JSON schema as a table of its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from bench.reference.markdown import cell, code, paragraphs, table_of
from bench.reference.types import Json, name_in, type_of


def described(name: str, schema: Json, level: int, *, is_given: bool) -> Iterator[str]:
    """Yield the blocks of a section on one schema: heading, what it is, and a row for each field.

    Args:
        name: the heading.
        level: the level of the heading.
        is_given: whether the reader writes such an object; its table then says what is required, and the defaults.
    """
    yield f"{'#' * level} {name}"
    yield from _description(schema)
    if schema.get("properties"):
        yield fields(schema, is_given=is_given)


def fields(schema: Json, *, is_given: bool) -> str:
    """Return the table of a schema's fields."""
    required = schema.get("required", [])
    return table_of(
        ("field", "type", "meaning"),
        (
            (code(name), type_of(one), _meaning(one, is_given=is_given, is_required=name in required))
            for name, one in schema.get("properties", {}).items()
        ),
    )


def names_below(schema: object) -> Iterator[str]:
    """Yield the names of the schemas that one refers to, in order, perhaps several times."""
    if isinstance(schema, dict):
        if (name := name_in(schema)) is not None:
            yield name
        for value in schema.values():
            yield from names_below(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from names_below(value)


def _description(schema: Json) -> Iterator[str]:
    """Yield what a schema says of itself, unless that names its endpoint alone."""
    text = schema.get("description", "")
    if not re.fullmatch(r"`[A-Z]+ /\S+`\.", text.strip()):
        yield from paragraphs(text)


def _meaning(schema: Json, *, is_given: bool, is_required: bool) -> str:
    text, default = cell(schema.get("description", "")), schema.get("default")
    if is_given and is_required:
        return f"{text}; **required**"
    return f"{text}; default: {code(json.dumps(default))}" if is_given and default not in (None, [], {}) else text
