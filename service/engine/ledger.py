"""Counts of requests and runs that add up.

    requests = answered + refused + cancelled + failed
    images   = Σ batch size · runs of that size
    latency  = decode + queue + run + serialize, request by request

The event loop writes requests, the run slots write runs; `/metrics` and the statistics read both.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from service.bundles.served_model import ServedGraph, ServedModel
from service.engine.request_context import STAGES, RequestContext, Stage

RequestOutcome = Literal["answered", "refused", "cancelled", "failed"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


def outcome_of(status: int, *, gone: bool) -> RequestOutcome:
    """Return the outcome by the status: "refused" is due to the client or the load, "failed" to the service."""
    if gone:
        return "cancelled"
    if 0 < status < 400:
        return "answered"
    return "failed" if status in (0, 500, 504) else "refused"


class Histogram:
    """Counts of values up to each bound, and their sum, as in Prometheus."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Return pairs of upper bound and number of values up to it, ending with +Inf."""
        running, result = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            result.append((bound, float(running)))
        return result


@dataclass(slots=True)
class RunTally:
    """Runs of one graph of one model version."""

    runs: int = 0
    stopped: int = 0
    wide: int = 0
    """Runs that took every core."""
    images: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_size: Histogram = field(default_factory=lambda: Histogram(BATCH_SIZES))
    sizes: Counter[int] = field(default_factory=Counter)
    last: float = 0.0


class Ledger:
    """Counts every request once and every run once."""

    def __init__(self) -> None:
        self.by_status: Counter[tuple[str, RequestOutcome, int, str]] = Counter()
        """Requests by (route, outcome, status, model@version); the model is "" where there is none or several."""
        self.latency: dict[str, Histogram] = {}
        self.stages: dict[Stage, Histogram] = {stage: Histogram(SECONDS) for stage in STAGES}
        self.tallies: dict[tuple[str, str], RunTally] = {}
        """Tallies by (model@version, graph)."""
        self._lock = threading.Lock()

    def request_finished(self, route: str, outcome: RequestOutcome, status: int, context: RequestContext) -> None:
        """Count a request whose answer was handed over, or whose client has gone."""
        model = "" if "," in context.model else context.model  # the combinations would be without number
        self.by_status[route, outcome, status, model] += 1
        if route not in self.latency:
            self.latency[route] = Histogram(SECONDS)
        self.latency[route].observe(context.latency)
        for stage, seconds in context.stages.items():
            self.stages[stage].observe(seconds)

    def run_finished(self, graph: ServedGraph, images: int, seconds: float, *, stopped: bool, wide: bool) -> None:
        """Count a run of a graph."""
        with self._lock:
            tally = self.tallies.setdefault((graph.model, graph.name), RunTally())
            tally.runs += 1
            tally.stopped += stopped
            tally.wide += wide
            tally.images += images
            tally.sizes[images] += 1
            tally.seconds.observe(seconds)
            tally.batch_size.observe(images)
            tally.last = time.time()

    @property
    def requests(self) -> Counter[RequestOutcome]:
        """Requests by outcome."""
        counts: Counter[RequestOutcome] = Counter()
        for (_, outcome, _, _), number in self.by_status.items():
            counts[outcome] += number
        return counts

    @property
    def runs(self) -> int:
        return sum(tally.runs for tally in self.tallies.values())

    @property
    def stopped_runs(self) -> int:
        return sum(tally.stopped for tally in self.tallies.values())

    @property
    def wide_runs(self) -> int:
        return sum(tally.wide for tally in self.tallies.values())

    @property
    def images_run(self) -> int:
        return sum(tally.images for tally in self.tallies.values())

    def statistics(self, model: ServedModel) -> dict[str, Any]:
        """Return the runs of a model in the shape of Triton's statistics extension, without what is not measured."""
        key = model.full_name
        tallies = [tally for (name, _), tally in tuple(self.tallies.items()) if name == key]
        sizes: Counter[int] = Counter()
        for tally in tallies:
            sizes.update(tally.sizes)
        nanoseconds = round(1e9 * sum(tally.seconds.total for tally in tallies))
        runs = sum(tally.runs for tally in tallies)
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": round(1e3 * max((tally.last for tally in tallies), default=0.0)),
            "inference_count": sum(tally.images for tally in tallies),
            "execution_count": runs,
            "inference_stats": {"compute_infer": {"count": runs, "ns": nanoseconds}},
            "batch_stats": [
                {"batch_size": size, "compute_infer": {"count": count}} for size, count in sorted(sizes.items())
            ],
        }
