"""Parses what header fields have in common (RFC 9110, 5.6 and 12.4.2): lists, quoted parameters, weights."""

from __future__ import annotations

import re

# A quote that is never closed goes on to the end; nothing is tried twice, so that time is linear in the length.
_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_MEMBERS = re.compile(rf'(?:{_QUOTED}|[^,"])++', re.DOTALL)
_PARTS = re.compile(rf'(?:{_QUOTED}|[^;"])++', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_WEIGHT = re.compile(r"0?\.\d+|0\.?|1(?:\.0*)?")


def members(field: str) -> list[str]:
    """Return the members of a comma-separated list, without empty ones; a comma in quotes does not separate."""
    return [member for found in _MEMBERS.findall(field) if (member := found.strip())]


def parameters(field: str) -> tuple[str, dict[str, str]]:
    """Return the text before the first `;` in lower case, and the parameters after it by their lower-case names.

    Quotes are removed. Of a parameter given twice, the first value counts.
    """
    parts = [part.strip() for part in _PARTS.findall(field)]
    given: dict[str, str] = {}
    for part in parts[1:]:
        name, _, value = part.partition("=")
        given.setdefault(name.strip().lower(), _without_quotes(value.strip()))
    return (parts[0].lower() if parts else ""), given


def weights(field: str) -> dict[str, float]:
    """Return the members of a list such as `Accept` in lower case, each with its weight `q` from 0 to 1.

    A member with an invalid weight is left out. Of a member named twice, the higher weight counts.
    """
    weighed: dict[str, float] = {}
    for member in members(field):
        name, given = parameters(member)
        weight = given.get("q", "1")
        if name and _WEIGHT.fullmatch(weight):
            weighed[name] = max(float(weight), weighed.get(name, 0.0))
    return weighed


def _without_quotes(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value
