"""One graph's sessions, on one thread and on every core: how fast they are, and how much memory they take."""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from service.bundles.warm_up import LEAST_WIDENED, seconds_on_one_thread, widened_speed
from service.contract.runtime.opening import MOST_THREADS, Runtime
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import zeros_for
from service.machine.memory import bound_fragmentation, give_back


def measured(file: str, seconds: float) -> dict[str, Any]:
    """Measure one graph on one thread and on every core; memory is the proportional set size that it adds."""
    bound_fragmentation()  # as the service does
    runtime = Runtime("cpu", most_threads=_cores())
    before = _megabytes()
    session = runtime.open(Path(file))
    feeds = zeros_for(session, 1)
    session.run(feeds)
    of_one = _megabytes() - before
    seconds_of_one = seconds_on_one_thread(session)
    long_enough = seconds_of_one >= LEAST_WIDENED
    pays = long_enough and widened_speed(session, Path(file), seconds_of_one, lambda: None) is not None
    if not pays:
        pair = session.open_widened(Path(file))
        assert pair is not None
        session.widen(*pair)
        del pair
    give_back()
    handles = {"one": RunHandle(), "wide": RunHandle(wide=True)}
    for handle in handles.values():
        session.run(feeds, handle)
    of_both = _megabytes() - before
    times: dict[str, list[float]] = {name: [] for name in handles}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times["one"]) < 3:
        for name, handle in handles.items():
            began = time.perf_counter()
            session.run(feeds, handle)
            times[name].append(time.perf_counter() - began)
    rates = {
        f"rate_of_{name}": _images_per_second(lambda handle=handle: session.run(feeds, handle), seconds)
        for name, handle in handles.items()
    }
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {**medians, **rates, "pays": pays, "mb_of_one": of_one, "mb_of_both": of_both}


def unshared(file: str) -> float:
    """Return the megabytes of two sessions that are opened as any session is."""
    bound_fragmentation()
    runtime = Runtime("cpu")
    before = _megabytes()
    sessions = [runtime.open(Path(file)) for _ in range(2)]
    for session in sessions:
        session.run(zeros_for(session, 1))
    return _megabytes() - before


def _images_per_second(run: Any, seconds: float) -> float:
    """Return the rate of as many callers as there are cores."""
    counts = [0] * _cores()
    end = time.monotonic() + seconds

    def work(index: int) -> None:
        while time.monotonic() < end:
            run()
            counts[index] += 1

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def _cores() -> int:
    """Return the cores that a run takes; on one core, two threads share it, and gain nothing."""
    return min(MOST_THREADS, max(2, len(os.sched_getaffinity(0))))


def _megabytes() -> float:
    gc.collect()
    return float(psutil.Process().memory_full_info().pss) / 1e6
