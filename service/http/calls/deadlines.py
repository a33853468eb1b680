"""Gives requests up at their deadlines: one timer for all that have the usual time, one each for the others."""

from __future__ import annotations

import asyncio
import time

from service.engine.request_context import RequestContext
from service.errors import DeadlineExceeded


class Deadlines:
    """For the event loop's thread."""

    def __init__(self, usual: float) -> None:
        """`usual` are the seconds that a request has if it says nothing else."""
        self._usual = usual
        self._waiting: dict[RequestContext, None] = {}
        """Who has the usual time, in the order of their deadlines."""
        self._timer: asyncio.TimerHandle | None = None
        """At the deadline of one of them, or of one that was answered meanwhile."""
        self._timers: dict[RequestContext, asyncio.TimerHandle] = {}
        """Of the others."""

    def start(self, request: RequestContext, seconds: float) -> None:
        """Begins `request` now, and gives it up after `seconds` unless `end` comes first."""
        request.begin(seconds)
        if seconds != self._usual:
            self._timers[request] = asyncio.get_running_loop().call_later(seconds, _give_up, request)
            return
        self._waiting[request] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def end(self, request: RequestContext) -> None:
        """It is answered; nothing happens if it never started."""
        self._waiting.pop(request, None)
        timer = self._timers.pop(request, None)
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for request in tuple(self._waiting):
            assert request.deadline is not None
            if request.deadline > now:
                self._timer = asyncio.get_running_loop().call_later(request.deadline - now, self._look)
                return
            del self._waiting[request]
            _give_up(request)


def _give_up(request: RequestContext) -> None:
    request.abandon(DeadlineExceeded("The deadline passed before the answer was there."))
