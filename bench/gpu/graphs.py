"""Part 1: every graph on the card against float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.gpu.part import Part, Row, Setting


def measure(setting: Setting) -> Iterator[Row]:
    yield from ()


def section(rows: Sequence[Row]) -> str:
    return "No rows."


PART = Part("graphs", measure, section)
