"""Find the memory that the container may use (cgroup v1 and v2)."""

from __future__ import annotations

from pathlib import Path

from service.machine.control_group import ancestors, own_group, read

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
