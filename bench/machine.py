"""The machine that a figure was measured on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """The processor, the cores that may be used, and the widest vectors that its kernels can use."""
    facts = _facts()
    model = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return f"{len(os.sched_getaffinity(0))} cores of {model}{f' ({vectors})' if vectors else ''}"


def _facts() -> dict[str, str]:
    """What /proc/cpuinfo says of the first core; nothing where there is no such file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if file.exists() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
