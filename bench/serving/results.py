"""The results of measuring one network."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.serving.subjects import Subject

COMPARED = 32
"""Connections at which servers are compared."""


@dataclass
class Row:
    """One server: results by number of connections, or the reason why there are none.

    Each result has `right` answers and `wrong` ones (or none at all), `rate` of right answers per second and
    `per_cpu_second` of the server, `p50` and `p99` of their times in milliseconds, and `own_cpu` of the load
    generator in µs per request. Ours also has its ratios `of_pillow` and `of_decoder` to the bounds per
    CPU-second, and `over_ms`, its p50 over the bound's.
    """

    name: str
    results: dict[int, dict[str, float]] = field(default_factory=dict)
    ready_seconds: float = 0.0
    memory_mb: float = 0.0
    reason: str = ""

    def most(self, figure: str) -> float:
        """Return the largest of a figure over all numbers of connections."""
        return max(result[figure] for result in self.results.values())


@dataclass(frozen=True)
class Bound:
    """The loop in one process at its best batch."""

    batch: int
    rate: float
    """Images per second."""
    per_cpu_second: float
    alone_ms: float
    """Milliseconds of one image at batch 1."""


@dataclass(frozen=True)
class Measured:
    """Everything that was measured of one network."""

    subject: Subject
    pillow: Bound
    decoder: Bound
    """The bound with the service's own decoder."""
    rows: list[Row]
    http_alone: Row
    """The same uvicorn with no model behind it."""
    memory_alone: float
    """MB of our service with this bundle alone."""
    profile: dict[str, float]
    """Microseconds of CPU per request by part."""
    load_average: float
