"""Find out whether cores are free at the moment."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

WORK = bytes(2**23)
"""Hashing this takes several slices of a scheduler's time, and needs no lock of the interpreter."""

NEARLY_ALL = 0.85
"""Part of the time that a thread runs which has a core to itself."""


def cores_are_free(count: int) -> bool:
    """Return whether each of `count` threads, working side by side for some milliseconds, has a core to itself.

    Whatever else runs on this machine counts, and the quota of our container.
    """
    with ThreadPoolExecutor(count) as threads:
        return all(threads.map(lambda _: _share_of_a_core() >= NEARLY_ALL, range(count)))


def _share_of_a_core() -> float:
    began, had = time.monotonic(), time.thread_time()
    hashlib.sha256(WORK).digest()
    return (time.thread_time() - had) / (time.monotonic() - began)
