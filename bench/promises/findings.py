"""What a promise's measurement says: figures, each beside what was promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One figure. `kept` is None where it is told without being promised."""

    what: str
    figure: str
    promised: str = ""
    kept: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str) -> Finding:
    """A figure that must not be above `limit`."""
    return Finding(what, f"{value:,.3g} {unit}", f"≤ {limit:g} {unit}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str = "") -> Finding:
    """A figure that must not be below `limit`."""
    return Finding(what, f"{value:,.3g} {unit}".rstrip(), f"≥ {limit:g} {unit}".rstrip(), value >= limit)


def exactly(what: str, value: int, expected: int) -> Finding:
    """A count that must be right."""
    return Finding(what, f"{value:,}", f"{expected:,}", value == expected)
