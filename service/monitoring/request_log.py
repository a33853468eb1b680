"""One log line for every request: at which level, and how many of refused ones.

Refused requests and those whose client has gone can be sent without end at no cost, so that their lines could fill a
disk. Of them `MOST_PER_SECOND` are written in a second, and a line says how many were left out. Requests that were
answered, or that the service failed, are never left out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Final

from service.monitoring.finished_request import FinishedRequest
from service.monitoring.request_line import RequestLine
from service.settings.fields import Settings

log = logging.getLogger("contraflow.request")

MOST_PER_SECOND: Final = 10
"""Lines about refused requests in one second."""

SECONDS_BETWEEN_COUNTS: Final = 10.0
"""Time over which lines are left out before a line says how many."""

QUIET_ENDS: Final = ("/live", "/ready", "/metrics", "/favicon.ico")
QUIET_BEGIN: Final = "/static/"


class RequestLog:
    """Logs finished requests at one level, and those that failed as warnings. For the event loop's thread."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._second = 0
        """The second of the monotonic clock that `_written` is about."""
        self._written = 0
        """Lines about refused requests in that second."""
        self._left_out: Counter[str] = Counter()
        """Lines left out since the last count, by the status."""
        self._since = 0.0
        self._count: asyncio.TimerHandle | None = None
        """Fires when it is time to say how many lines were left out."""

    def __call__(self, request: FinishedRequest) -> None:
        """Write the line of a request, if its level is logged and it is not one too many."""
        if request.outcome == "failed":
            level = max(self._level, logging.WARNING)
        elif request.outcome == "answered" and is_quiet(request):
            level = logging.DEBUG
        else:
            level = self._level
        if log.isEnabledFor(level) and (request.outcome in ("answered", "failed") or self._has_room(request)):
            log.handle(logging.LogRecord(log.name, level, "", 0, RequestLine(request), None, None))

    def close(self) -> None:
        """Say how many lines were left out last."""
        if self._count is not None:
            self._count.cancel()
            self._say_count()

    def _has_room(self, request: FinishedRequest) -> bool:
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._written = int(now), 0
        self._written += 1
        if self._written <= MOST_PER_SECOND:
            return True
        self._left_out[str(request.status or "no answer")] += 1
        if self._count is None:
            self._since = now
            self._count = asyncio.get_running_loop().call_later(SECONDS_BETWEEN_COUNTS, self._say_count)
        return False

    def _say_count(self) -> None:
        statuses = ", ".join([f"{number} with {status}" for status, number in self._left_out.most_common()])
        log.log(
            self._level,
            "left out %d lines of refused requests in the last %.0f s: %s",
            self._left_out.total(),
            time.monotonic() - self._since,
            statuses,
        )
        self._left_out.clear()
        self._count = None


def is_quiet(request: FinishedRequest) -> bool:
    """Return whether programs send such requests all day: probes, scrapes, preflights, and what a page consists of."""
    return is_quiet_path(request.route) or request.method == "OPTIONS"


def is_quiet_path(path: str) -> bool:
    """Return whether an address, or the pattern of one, is for probes, scrapes or what a page consists of."""
    return path.endswith(QUIET_ENDS) or path.startswith(QUIET_BEGIN)


def request_log(settings: Settings) -> RequestLog | None:
    """Return the log of requests; None where it could never write a line."""
    if settings.request_log == "off" or settings.log_level == "error":
        return None
    return RequestLog(logging.getLevelName(settings.request_log.upper()))
