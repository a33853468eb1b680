"""Holds the functions by which a service sends telemetry."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from service.monitoring.finished_request import BeginTrace, Observer

log = logging.getLogger("contraflow.telemetry")

SECONDS_TO_END: Final = 2.0
"""Seconds that the end of the service may wait for a collector to take what is left."""


@dataclass(frozen=True)
class Telemetry:
    """Functions that the service calls; none of them waits for a collector but `stop`."""

    begin_trace: BeginTrace | None
    observers: tuple[Observer, ...]
    starts: tuple[Callable[[CollectorRegistry], None], ...]
    """Begin to send the metrics of a registry."""
    ends: tuple[Callable[[], None], ...]
    """Each sends what is left of one signal, which may take long."""
    fall_silent: Callable[[], None]
    """Called last: nothing is logged any more."""

    def start(self, metrics: CollectorRegistry) -> None:
        for start in self.starts:
            start(metrics)

    def stop(self) -> None:
        """Send what is left, all signals at once; after `SECONDS_TO_END` the rest is lost."""
        until = time.monotonic() + SECONDS_TO_END
        threads = [threading.Thread(target=end, daemon=True) for end in self.ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            log.warning("what was left was not taken within %g s, and is lost", SECONDS_TO_END)
        self.fall_silent()
