"""Deadlines of requests: one timer for all that have the usual deadline, one each for the others."""

from __future__ import annotations

import asyncio
import time

from service.engine.request_context import RequestContext
from service.errors import DeadlineExceeded


class Deadlines:
    """Gives requests up at their deadlines. Use it on the event loop's thread."""

    def __init__(self, usual: float) -> None:
        """`usual` is the number of seconds that a request has unless it sets its own deadline."""
        self.usual = usual
        self._with_usual: dict[RequestContext, None] = {}
        """Requests with the usual deadline, the earliest first."""
        self._usual_timer: asyncio.TimerHandle | None = None
        """Fires at the deadline of the first of them, or of one that has been answered since."""
        self._own_timers: dict[RequestContext, asyncio.TimerHandle] = {}
        """Timers of requests that set their own deadline."""

    def start(self, request: RequestContext, seconds: float) -> None:
        """Start the clock of `request`, and give it up after `seconds` unless `end` comes first."""
        request.start_clock(seconds)
        if seconds != self.usual:
            self._own_timers[request] = asyncio.get_running_loop().call_later(seconds, _give_up, request)
            return
        self._with_usual[request] = None
        if self._usual_timer is None:
            self._usual_timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def end(self, request: RequestContext) -> None:
        """Let go of a request that is answered, whether it was started or not."""
        self._with_usual.pop(request, None)
        timer = self._own_timers.pop(request, None)
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._usual_timer = None
        now = time.monotonic()
        for request in tuple(self._with_usual):
            assert request.deadline is not None
            if request.deadline > now:
                self._usual_timer = asyncio.get_running_loop().call_later(request.deadline - now, self._look)
                return
            del self._with_usual[request]
            _give_up(request)


def _give_up(request: RequestContext) -> None:
    request.abandon(DeadlineExceeded("The deadline passed before the answer was there."))
