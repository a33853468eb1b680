"""What glibc's malloc is told, so that a service whose bundles change keeps its size.

By default every thread gets an arena of its own, and once a large block was freed, blocks of that
size come from the arenas too. Sessions that come and go then leave holes that are never given back:
30 swaps of a 20-layer net, each with one diagnosis, went from 211 to 333 MB resident; as told here,
from 144 to 147.

On other C libraries nothing is told. Variables of the environment that say the same win.
"""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple


class Option(NamedTuple):
    """One option of `mallopt`, and the variable by which glibc takes it too."""

    number: int
    value: int
    variable: str


OPTIONS = (
    Option(-8, 2, "MALLOC_ARENA_MAX"),
    Option(-3, 2**20, "MALLOC_MMAP_THRESHOLD_"),  # bytes from which a block is a mapping of its own; else it adapts
)


def bound_fragmentation() -> None:
    """Call it before threads are started."""
    if _has("mallopt"):
        for option in OPTIONS:
            if option.variable not in os.environ:
                ctypes.CDLL(None).mallopt(option.number, option.value)


def give_back() -> None:
    """Returns to the system what was freed; milliseconds, so only after something large."""
    if _has("malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def _has(function: str) -> bool:
    return os.name == "posix" and hasattr(ctypes.CDLL(None), function)
