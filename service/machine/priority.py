"""Priorities of threads."""

from __future__ import annotations

import os
import sys
import threading

BEHIND: int = 10
"""Nice value: about a tenth of the share of a thread at 0, and all that the others leave unused."""


def give_way() -> None:
    """Let other threads go before the calling thread from now on. This cannot be undone.

    Does nothing on other systems than Linux, where a thread has no priority of its own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
