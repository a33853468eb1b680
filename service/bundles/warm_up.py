"""How fast a graph is, and in batches of which size it is best run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from service.contract.runtime import CPU, RunHandle, Session, zeros_for

LONGEST_RUN = {False: 0.25, True: 0.1}
"""Seconds that one run may take, for predictions (False) and diagnostics (True): what others wait for."""

COST_OF_A_BATCH = 3e-4
"""Seconds that a batch costs besides its run: taking it, waking the event loop."""

NEARLY_AS_GOOD = 1.05
"""The smallest size within this of the best per image is taken: it holds others up least, and takes least memory."""
WORTH_GOING_ON = 0.8
"""Larger sizes are not tried once one has cost 1 / 0.8 of the best per image."""

LONGEST_TIMING = 0.25

USUAL_BATCH = 8
"""Images per run before the best size is measured, where they do not take too long."""


def first_speed(session: Session, max_batch: int, diagnostic: bool) -> tuple[int, float]:
    """A batch size that will do, and seconds per image, by two runs of one image: what a graph needs to be ready."""
    feeds = zeros_for(session, 1)
    session.run(feeds)  # the first is slow
    seconds = _timed(session, feeds) + COST_OF_A_BATCH
    batch = USUAL_BATCH
    while batch > 1 and (batch > max_batch or batch * seconds > LONGEST_RUN[diagnostic]):
        batch //= 2
    return batch, seconds


def best_speed(session: Session, max_batch: int, diagnostic: bool) -> tuple[int, float]:
    """The batch size (1, 2, 4 …) with the least time per image, and that time in seconds.

    Of sizes that are nearly as good the smallest is taken; a size whose run takes longer than
    others should have to wait for is none. What the runs needed is given back at the end.
    """
    per_image: dict[int, float] = {}
    batch = 1
    while batch <= max_batch:
        seconds = _least_time(session, batch)
        if batch > 1 and seconds > LONGEST_RUN[diagnostic]:
            break
        per_image[batch] = (seconds + COST_OF_A_BATCH) / batch
        if min(per_image.values()) < per_image[batch] * WORTH_GOING_ON:
            break
        batch *= 2
    session.run(zeros_for(session, 1), RunHandle(gives_memory_back=True))
    least = min(per_image.values())
    best = next(size for size, seconds in per_image.items() if seconds <= least * NEARLY_AS_GOOD)
    return best, per_image[best]


def _least_time(session: Session, batch: int) -> float:
    """The shortest of up to three runs, in seconds; the first of a size is slow."""
    feeds = zeros_for(session, batch)
    times: list[float] = []
    while len(times) < 3 and sum(times) < LONGEST_TIMING:
        times.append(_timed(session, feeds))
    return min(times)


def _timed(session: Session, feeds: Mapping[str, NDArray[Any]]) -> float:
    """Seconds of one run: on a CPU that is one thread, whose own clock is right however busy the machine is."""
    clock = time.thread_time if session.provider == CPU else time.monotonic
    began = clock()
    session.run(feeds)
    return clock() - began
