"""Measures how fast a graph is, and which batch size is best for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from service.contract.arrays import Array
from service.contract.runtime.provider import CPU
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import Session, zeros_for

LONGEST_RUN: Final = {False: 0.25, True: 0.1}
"""Most seconds of one run, for predictions (False) and diagnostics (True), because other requests wait meanwhile."""

COST_OF_A_BATCH: Final = 3e-4
"""Seconds that a batch takes besides its run: forming it, and waking the event loop."""

NEARLY_AS_GOOD: Final = 1.05
"""Among batch sizes within 5 % of the best time per image the smallest is chosen.

It blocks others least and needs the least memory.
"""
WORTH_GOING_ON: Final = 0.8
"""No larger size is tried once the best time per image is below 0.8 of the last."""

LONGEST_TIMING: Final = 0.25
"""Seconds after which a size is not run again."""

USUAL_BATCH: Final = 8
"""Most images per run before the best size is measured."""


def first_speed(session: Session, max_batch: int, diagnostic: bool) -> tuple[int, float]:
    """Return a batch size that will do for now, and seconds per image, after two runs of one image."""
    feeds = zeros_for(session, 1)
    session.run(feeds)  # the first run of a session is slow
    seconds = _timed(session, feeds) + COST_OF_A_BATCH
    batch = USUAL_BATCH
    while batch > 1 and (batch > max_batch or batch * seconds > LONGEST_RUN[diagnostic]):
        batch //= 2
    return batch, seconds


def best_speed(session: Session, max_batch: int, diagnostic: bool) -> tuple[int, float]:
    """Return the batch size (1, 2, 4 …) that is best for the graph, and its seconds per image.

    A size whose run takes longer than `LONGEST_RUN` is not considered. The memory that the runs took is returned to
    the system at the end.
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
    session.run(zeros_for(session, 1), RunHandle(shrinks=session.arena))
    least = min(per_image.values())
    best = next(size for size, seconds in per_image.items() if seconds <= least * NEARLY_AS_GOOD)
    return best, per_image[best]


def _least_time(session: Session, batch: int) -> float:
    """Return the seconds of the fastest of up to three runs; the first run of each size is slow."""
    feeds = zeros_for(session, batch)
    times: list[float] = []
    while len(times) < 3 and sum(times) < LONGEST_TIMING:
        times.append(_timed(session, feeds))
    return min(times)


def _timed(session: Session, feeds: Mapping[str, Array]) -> float:
    """Return the seconds of one run.

    On a CPU a run is one thread, and that thread's own clock is right however busy the machine is.
    """
    clock = time.thread_time if session.provider == CPU else time.monotonic
    began = clock()
    session.run(feeds)
    return clock() - began
