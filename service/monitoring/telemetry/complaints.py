"""What OpenTelemetry's SDK complains of, passed on to our log at most once a minute for each of its parts.

A collector that is down would otherwise be worth several lines every few seconds, with tracebacks.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Final

EVERY: Final = 60.0
"""Seconds between two lines about one part of the SDK."""

LONGEST: Final = 300
"""Characters that are kept of a complaint."""

log = logging.getLogger("contraflow.telemetry")


class Complaints(logging.Handler):
    """Logs the first complaint of each logger, and a later one with the number of those that it leaves out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[str, tuple[float, int]] = {}
        """Logger → when it was heard last, on the monotonic clock, and how many records were left out since."""
        self.silent = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.silent:
            return
        now = time.monotonic()
        last, left_out = self._said.get(record.name, (-math.inf, 0))
        if now - last < EVERY:
            self._said[record.name] = (last, left_out + 1)
            return
        self._said[record.name] = (now, 0)
        words = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            words += f": {record.exc_info[1]}"
        if len(words) > LONGEST:
            words = words[:LONGEST] + "…"
        log.warning("%s%s", words, f" ({left_out} more complaints were left out)" if left_out else "")

    def fall_silent(self) -> None:
        self.silent = True


def listen_to(logger: str) -> Complaints:
    """Take over what `logger` and those below it say."""
    complaints, source = Complaints(), logging.getLogger(logger)
    source.handlers, source.propagate = [complaints], False
    return complaints
