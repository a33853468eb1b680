"""The card's memory and use, as `nvidia-smi` tells them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

QUERY = ("--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Usage:
    """One reading of the first card."""

    memory_mib: float
    """Used by all processes together: a container often hides which process has how much."""
    busy_percent: float


def usage() -> Usage | None:
    """Return a reading; None where there is no card, or nothing that tells."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, *QUERY], capture_output=True, text=True, timeout=10)
        memory, busy = done.stdout.splitlines()[0].split(",")
        return Usage(float(memory), float(busy))
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return None
