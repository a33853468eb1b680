"""Part 2: norms beside the forward run and beside torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.gpu.part import Part, Row, Setting


def measure(setting: Setting) -> Iterator[Row]:
    yield from ()


def section(rows: Sequence[Row]) -> str:
    return "No rows."


PART = Part("ratios", measure, section)
