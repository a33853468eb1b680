"""Which threads get the processor first."""

from __future__ import annotations

import os
import sys
import threading

BEHIND: int = 10
"""As `nice` counts: about a tenth of the share of a thread at 0, and all that the others leave."""


def give_way() -> None:
    """Has the calling thread wait for others that have work, from now on; nothing can take that back.

    Only Linux gives each thread a priority of its own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
