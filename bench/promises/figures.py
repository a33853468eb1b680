"""Figures of a promise's measurement, each beside what was promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of a promise's table. `kept` is None for a figure that nothing was promised about."""

    what: str
    value: str
    promised: str = ""
    kept: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not be above `limit`."""
    return Figure(what, f"{value:,.3g} {unit}".rstrip(), f"≤ {limit:g} {unit}".rstrip(), value <= limit)


def at_least(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not be below `limit`."""
    return Figure(what, f"{value:,.3g} {unit}".rstrip(), f"≥ {limit:g} {unit}".rstrip(), value >= limit)


def exactly(what: str, value: float, expected: int) -> Figure:
    """Return a count that must be right."""
    return Figure(what, f"{value:,.0f}", f"{expected:,}", value == expected)
