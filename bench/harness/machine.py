"""The machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""Flags of a processor and what they are called, the widest first."""


def machine() -> str:
    """Return the usable cores, the processor's name and the widest vectors that its kernels can use."""
    facts = _first_core()
    name = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    widest = next((f" ({vectors})" for flag, vectors in VECTORS.items() if flag in flags), "")
    return f"{len(os.sched_getaffinity(0))} cores of {name}{widest}"


def day_and_machine() -> str:
    """Return the day of today and the machine, as the beginning of a sentence."""
    return f"Measured {time.strftime('%Y-%m-%d')} on {machine()}"


def conditions() -> str:
    """Return the day, the machine, and whether it had anything else to do."""
    return f"{day_and_machine()}, load average {os.getloadavg()[0]:.1f} at the end"


def _first_core() -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first core; nothing where there is no such file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if file.exists() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
