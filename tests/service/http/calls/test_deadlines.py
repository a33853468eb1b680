"""Deadlines on a real event loop: each request is given up at its own deadline and no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from service.engine.request_context import RequestContext
from service.errors import DeadlineExceeded
from service.http.calls.deadlines import Deadlines

USUAL = 0.15


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def started(deadlines: Deadlines, seconds: float = USUAL) -> RequestContext:
    request = RequestContext()
    deadlines.start(request, seconds)
    return request


class Given:
    """A request that remembers when it was given up, and why."""

    def __init__(self, request: RequestContext) -> None:
        self.after = 0.0
        self.why: Exception | None = None
        self._request = request
        request.add(self)

    def abandon(self, error: Exception) -> None:
        self.after, self.why = time.monotonic() - self._request.received, error


def test_each_is_given_up_at_its_own_deadline() -> None:
    """The deadline comes no earlier than asked, and before a timer that was set for a little later."""

    async def scenario() -> None:
        deadlines = Deadlines(USUAL)
        loop = asyncio.get_running_loop()
        works, in_time = [], []

        def look(work: Given) -> None:
            in_time.append(work.why is not None)

        for seconds in (USUAL, USUAL, USUAL, 0.05):
            work = Given(started(deadlines, seconds))
            works.append(work)
            loop.call_later(seconds + 0.03, look, work)
            await asyncio.sleep(0.04)
        await asyncio.sleep(0.3)
        assert all(work.after >= USUAL for work in works[:3])
        assert works[3].after >= 0.05
        assert all(isinstance(work.why, DeadlineExceeded) for work in works)
        assert in_time == [True] * 4

    run(scenario())


def test_who_was_answered_is_left_alone() -> None:
    async def scenario() -> None:
        deadlines = Deadlines(USUAL)
        answered = [started(deadlines), started(deadlines, 0.05)]
        late = started(deadlines)
        for request in answered:
            deadlines.end(request)
        await asyncio.sleep(0.25)
        assert [request.abandoned_by for request in answered] == [None, None]
        assert isinstance(late.abandoned_by, DeadlineExceeded)

    run(scenario())


def test_many_requests_share_one_timer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(60.0)
        for _ in range(1000):
            deadlines.end(started(deadlines, 60.0))
        scheduled: list[Any] = loop._scheduled  # type: ignore[attr-defined]
        assert len(scheduled) == 1
        scheduled[0].cancel()

    run(scenario())


def test_one_who_never_began_may_end() -> None:
    async def scenario() -> None:
        Deadlines(USUAL).end(RequestContext())

    run(scenario())
