"""Figures, each beside what it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of a table. `kept` is None for a figure that nothing was promised about."""

    what: str
    value: str
    promised: str = ""
    kept: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not be above `limit`."""
    return Figure(what, _written(value, unit), f"≤ {_written(limit, unit)}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str = "") -> Figure:
    """Return a figure that must not be below `limit`."""
    return Figure(what, _written(value, unit), f"≥ {_written(limit, unit)}", value >= limit)


def _written(value: float, unit: str) -> str:
    """Return three digits, or all before the point."""
    return (f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}").rstrip()


def exactly(what: str, value: float, expected: int) -> Figure:
    """Return a count that must be right."""
    return Figure(what, f"{value:,.0f}", f"{expected:,}", value == expected)
