"""Measures how fast a graph is, which batch size is best for it, and whether one image is faster on several threads.

On a GPU recorded runs are faster, and measured too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from service.bundles.served_model import WideSpeed
from service.contract.runtime.gpu.pixel_graph import LEVELS, Layout, PixelFeed, PixelTable
from service.contract.runtime.provider import CPU
from service.contract.runtime.runs import RunHandle, shortage
from service.contract.runtime.session import Session, zeros_for

log = logging.getLogger("contraflow.bundles")

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


LEAST_WIDENED: Final = 0.003
"""Seconds of a run of one image, on one thread, from which it is tried on several."""

MOST_OF_THE_TIME: Final = 0.8
"""Part of its time on one thread that a run may take on several. A smaller gain is not worth the other cores."""


class Speed(NamedTuple):
    """How fast a graph is on one thread, or on a GPU."""

    best_batch: int
    """Images per run."""
    seconds_per_image: float
    """Seconds at that."""


def first_speed(session: Session, max_batch: int, diagnostic: bool) -> Speed:
    """Return a batch size that will do for now, and seconds per image, after two runs of one image."""
    feeds = trial_feeds(session, 1)
    session.run(feeds)  # the first run of a session is slow
    seconds = _timed(session, feeds) + COST_OF_A_BATCH
    batch = USUAL_BATCH
    while batch > 1 and (batch > max_batch or batch * seconds > LONGEST_RUN[diagnostic]):
        batch //= 2
    return Speed(batch, seconds)


def best_speed(session: Session, max_batch: int, diagnostic: bool) -> Speed:
    """Return the batch size (1, 2, 4 …) that is best for the graph, and its seconds per image.

    A size whose run takes longer than `LONGEST_RUN` is not considered, nor one for which there is too little memory.
    Where the session records runs (CUDA graphs), every size up to the best has its recording. A plain run may be as
    fast right after one of the same size, but after one of another size it plans anew, which takes far longer. The
    memory that the runs took is returned to the system at the end.

    Raises:
        Exception: whatever the runtime raises for one image.
    """
    per_image: dict[int, float] = {}
    batch = 1
    while batch <= max_batch:
        try:
            seconds = _least_time(session, batch)
        except Exception as error:
            if batch == 1 or shortage(error, on_a_gpu=session.provider != CPU) is None:
                raise
            log.warning("no batches of %d: %s", batch, str(error).strip())
            break
        if session.recorded and batch not in session.recorded:
            break
        if batch > 1 and seconds > LONGEST_RUN[diagnostic]:
            break
        per_image[batch] = (seconds + COST_OF_A_BATCH) / batch
        if min(per_image.values()) < per_image[batch] * WORTH_GOING_ON:
            break
        batch *= 2
    _give_memory_back(session)
    least = min(per_image.values())
    best = next(size for size, seconds in per_image.items() if seconds <= least * NEARLY_AS_GOOD)
    for size in session.recorded:
        if size > best:
            session.forget(size)
    return Speed(best, per_image[best])


def seconds_on_one_thread(session: Session) -> float:
    """Return the seconds of a run of one image, by the thread's own clock, which is right on a busy machine too."""
    return _fastest(session, trial_feeds(session, 1))


def widened_speed(session: Session, graph: Path, seconds: float, check: Callable[[], None]) -> WideSpeed | None:
    """Widen the session if one image is then clearly faster; return how fast, or None if it is not.

    On several threads the wall clock counts, since threads that wait for each other take time too. So this is for a
    machine whose cores are free; on a busy one a session may be left as it is although it would gain.

    Args:
        session: it runs on one thread.
        graph: the file that it was opened from, or another of the same content.
        seconds: what one image takes on one thread.
        check: raises if the file's content is no longer that; called before the file is read, and after.

    Raises:
        Exception: whatever `check`, the runtime and the system raise; the session is left as it was.
    """
    check()
    pair = session.open_widened(graph)
    check()
    if pair is None:
        return None
    feeds = trial_feeds(session, 1)
    pair[1].run(feeds)  # the first run reads the weights from their file
    wide = _fastest(pair[1], feeds, time.monotonic)
    if wide > MOST_OF_THE_TIME * seconds:
        return None
    session.widen(*pair)
    return WideSpeed(session.most_threads, wide)


def _give_memory_back(session: Session) -> None:
    try:
        session.run(zeros_for(session, 1), RunHandle(shrinks=session.arena, quiet=True))
    except Exception as error:  # the measurement is good all the same
        log.warning("the memory of a measurement was not given back to %s: %s", session.arena, error)


def trial_feeds(session: Session, batch: int) -> dict[str, Any]:
    """Return inputs for a run that is timed, in the form in which requests give theirs: pixels where those are taken.

    A layout is known by the place of the one or three channels.
    """
    feeds: dict[str, Any] = dict(zeros_for(session, batch))
    shape = feeds["input"].shape[1:]
    layouts: dict[Layout, int] = {"nchw": 0, "nhwc": -1}
    layout = next((name for name, place in layouts.items() if len(shape) == 3 and shape[place] in (1, 3)), None)
    if session.takes_pixels and layout is not None:
        channels, height, width = shape if layout == "nchw" else (shape[2], *shape[:2])
        pixels = np.random.default_rng(0).integers(0, LEVELS, (batch, height, width, channels), dtype=np.uint8)
        values = np.tile(np.linspace(-2, 2, LEVELS, dtype=np.float32), (channels, 1))
        feeds["input"] = PixelFeed((pixels,), PixelTable(values, tuple(range(channels)), layout))
    return feeds


def _least_time(session: Session, batch: int) -> float:
    """Return the seconds of a run of `batch` images: of a recorded one if it can be recorded, else of a plain one."""
    feeds = trial_feeds(session, batch)
    plain = _fastest(session, feeds)
    return _fastest(session, feeds) if session.record(feeds) else plain


def _fastest(session: Session, feeds: Mapping[str, Any], clock: Callable[[], float] | None = None) -> float:
    """Return the seconds of the fastest of up to three runs; the first run of each size is slow."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < LONGEST_TIMING:
        times.append(_timed(session, feeds, clock))
    return min(times)


def _timed(session: Session, feeds: Mapping[str, Any], clock: Callable[[], float] | None = None) -> float:
    """Return the seconds of one run.

    On a CPU a run is one thread, and that thread's own clock is right however busy the machine is. A run of several
    threads needs another `clock`.
    """
    clock = clock or (time.thread_time if session.provider == CPU else time.monotonic)
    began = clock()
    session.run(feeds)
    return clock() - began
