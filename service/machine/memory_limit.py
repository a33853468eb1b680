"""How much memory the container may use (cgroup v1 and v2), and how much of it requests may hold at a time.

A container that exceeds its limit is killed with everything in flight, so what an overload can pile up is kept well
below it: bodies get a fifth of the limit, and images being decoded a half. The rest is for the process itself, its
weights and its runs.
"""

from __future__ import annotations

from pathlib import Path

from service.machine.control_group import ancestors, own_group, read
from service.settings import Settings

DECODING_BYTES = 16
"""Most bytes that decoding takes per pixel. Measured: 16 for a lossless WebP, 13 for a PNG, 7 to 12 for a JPEG."""

NO_LIMIT = 2**60
"""cgroup v1 writes "no limit" as a larger number."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the tightest limit in bytes from our group upwards; None without a limit."""
    limits = [
        int(found)
        for mount, controller, name in (
            ("sys/fs/cgroup", "", "memory.max"),
            ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes"),
        )
        if (group := own_group(root, controller)) is not None
        for directory in ancestors(root / mount, group)
        if (found := read(directory / name)).isdecimal() and int(found) < NO_LIMIT
    ]
    return min(limits, default=None)


def within_memory(settings: Settings, limit: int | None) -> Settings:
    """Lower the settings to what a container of `limit` bytes can hold at a time."""
    if limit is None:
        return settings
    bodies = min(settings.max_body_bytes_in_flight, max(limit // 5, settings.max_body_bytes))
    pixels = min(settings.max_decoding_pixels, limit // 2 // DECODING_BYTES)
    return settings.model_copy(update={"max_body_bytes_in_flight": bodies, "max_decoding_pixels": max(1, pixels)})
