"""The type of a value in words, from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from bench.reference.markdown import code, listed, slug

Json = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"
NOT_FINITE: Final = "NotFinite"

PLURALS: Final = {"integer": "integers", "number": "numbers", "string": "strings", "boolean": "booleans"}


def link_to(name: str) -> str:
    """Return a link to the section of a schema on the same page."""
    return f"[{name}](#{slug(name)})"


def name_in(schema: Json) -> str | None:
    """Return the name of the schema that another one refers to."""
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else None


def type_of(schema: Json, *, plural: bool = False, link: Callable[[str], str] = link_to) -> str:
    """Return a type in words: "array of numbers (at least 1)"; `link` makes a link of a schema's name."""
    if (name := name_in(schema)) is not None:
        return "NaN" if name == NOT_FINITE else link(name)
    if "anyOf" in schema:
        return _any_of(schema["anyOf"], plural, link) + _bounds(schema)
    if "enum" in schema:
        return listed([code(value) for value in schema["enum"]])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    match schema.get("type"):
        case "array":
            return _array(schema, plural, link) + _size(schema)
        case "object":
            return _object(schema, link)
        case "string":
            return _string(schema, plural)
        case str(kind):
            return (PLURALS.get(kind, kind) if plural else kind) + _bounds(schema)
        case _:
            return "any values" if plural else "any value"


def _any_of(schemas: list[Json], plural: bool, link: Callable[[str], str]) -> str:
    """Return the alternatives, null last, and "number or NaN" for a number that may be one of the three strings."""
    kinds = list(dict.fromkeys(type_of(one, plural=plural, link=link) for one in schemas if one.get("type") != "null"))
    return " or ".join([*kinds, *(["null"] if {"type": "null"} in schemas else [])])


def _array(schema: Json, plural: bool, link: Callable[[str], str]) -> str:
    word = "arrays" if plural else "array"
    if fixed := schema.get("prefixItems"):
        kinds = dict.fromkeys(type_of(one, plural=True, link=link) for one in fixed)
        return f"{word} of {len(fixed)} {' and '.join(kinds)}"
    items = schema.get("items", {})
    return f"{word} of {type_of(items, plural=True, link=link)}"


def _object(schema: Json, link: Callable[[str], str]) -> str:
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        return f"object: name → {type_of(values, link=link)}"
    if members := schema.get("properties"):
        required = schema.get("required", [])
        if not required:
            return f"object with any of {listed([code(one) for one in members], 'and')}"
        return (
            f"object with {listed([code(one) + ('' if one in required else ' (optional)') for one in members], 'and')}"
        )
    return "object"


def _string(schema: Json, plural: bool) -> str:
    if schema.get("contentEncoding") == "base64":
        return "base64 strings" if plural else "base64 string"
    if schema.get("format") == "binary":
        return "files" if plural else "file"
    if schema.get("format") == "path":
        return "paths" if plural else "path"
    words = "strings" if plural else "string"
    if pattern := schema.get("pattern"):
        words += f" matching `{pattern}`"
    if (most := schema.get("maxLength")) is not None:
        words += f" of at most {most:,} characters"
    return words


def _bounds(schema: Json) -> str:
    """Return the limits of a number: " (0 to 65,535)"."""
    least, most = schema.get("minimum", schema.get("ge")), schema.get("maximum", schema.get("le"))
    above = schema.get("exclusiveMinimum")
    if least is not None and most is not None:
        return f" ({least:,.15g} to {most:,.15g})"
    if least is not None:
        return f" ({least:,.15g} or more)"
    if above is not None:
        return f" (above {above:,.15g}" + ("" if most is None else f", at most {most:,.15g}") + ")"
    return "" if most is None else f" (at most {most:,.15g})"


def _size(schema: Json) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if "prefixItems" in schema:
        return ""
    words = ", ".join([*([f"at least {least}"] if least else []), *([f"at most {most}"] if most else [])])
    return f" ({words})" if words else ""
