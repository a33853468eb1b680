"""The card's memory and use, as `nvidia-smi` tells them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.gpu.card import told


@dataclass(frozen=True)
class Usage:
    """One reading of the first card."""

    memory_mib: float
    """Used by all processes together: a container often hides which process has how much."""
    busy_percent: float


def usage() -> Usage | None:
    """Return a reading; None where nothing tells it."""
    try:
        memory, busy = told("memory.used", "utilization.gpu") or ("", "")
        return Usage(float(memory), float(busy))
    except ValueError:
        return None
