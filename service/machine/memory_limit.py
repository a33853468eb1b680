"""How much memory the container may use (cgroup v1 and v2), and what of it requests may hold at a time.

A container that goes beyond its limit is killed with everything in flight, so what overload can pile up is
kept well below: of the limit, bodies get a fifth and images being decoded a half. The rest is for the
process itself, its weights and its runs.
"""

from __future__ import annotations

from pathlib import Path

from service.machine.control_group import ancestors, own_group, read
from service.settings import Settings

DECODING_BYTES = 16
"""Bytes per pixel that decoding takes at most: 16 of a lossless WebP, 13 of a PNG, 7 to 12 of a JPEG, as measured."""

UNLIMITED = 2**60
"""Version 1 writes "no limit" as a number of about this size."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """The tightest limit in bytes from our group up; None without one."""
    limits = [
        int(found)
        for mount, controller, name in (
            ("sys/fs/cgroup", "", "memory.max"),
            ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes"),
        )
        if (group := own_group(root, controller)) is not None
        for directory in ancestors(root / mount, group)
        if (found := read(directory / name)).isdecimal() and int(found) < UNLIMITED
    ]
    return min(limits, default=None)


def within_memory(settings: Settings, limit: int | None) -> Settings:
    """The settings, with no more held at a time than a container of `limit` bytes can hold."""
    if limit is None:
        return settings
    bodies = min(settings.max_body_bytes_in_flight, max(limit // 5, settings.max_body_bytes))
    pixels = min(settings.max_decoding_pixels, limit // 2 // DECODING_BYTES)
    return settings.model_copy(update={"max_body_bytes_in_flight": bodies, "max_decoding_pixels": max(1, pixels)})
