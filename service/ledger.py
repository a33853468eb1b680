"""What has happened, in counts that add up: requests = answered + refused + cancelled + failed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from service.registry import ServedGraph
from service.request_context import Stage

Outcome = Literal["answered", "refused", "cancelled", "failed"]


def outcome_of(status: int, *, gone: bool) -> Outcome:
    """What a request came to, by its status: refused is the client's or the load's doing, failed is ours."""
    if gone:
        return "cancelled"
    if status < 400:
        return "answered"
    return "failed" if status in (500, 504) else "refused"


class Ledger:
    """Counts by name. The event loop writes requests, the run slots write runs."""

    def __init__(self) -> None:
        self.requests: Counter[Outcome] = Counter()
        self.runs = 0
        self.stopped_runs = 0
        self.images_run = 0
        self._lock = threading.Lock()

    def request_finished(self, route: str, outcome: Outcome, status: int, stages: Mapping[Stage, float]) -> None:
        """Each request, once: when its answer was handed over, or its client had gone."""
        self.requests[outcome] += 1

    def run_finished(self, graph: ServedGraph, images: int, seconds: float, *, stopped: bool) -> None:
        """Each run of a graph, once."""
        with self._lock:
            self.runs += 1
            self.stopped_runs += stopped
            self.images_run += images
