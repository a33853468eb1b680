"""Find the memory that the container may use, and what is left of it (cgroup v1 and v2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.machine.control_group import ancestors, own_group, read

NO_LIMIT = 2**60
"""cgroup v1 writes "no limit" as a larger number."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the tightest limit in bytes from our group upwards; None without a limit."""
    return min([limit for _, limit in _limits(root)], default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """Return the bytes that our group may still take before it or a group above it meets its limit; None without one.

    Pages of files that have not been read lately are not counted as taken: they give way first.
    """
    return min([limit - _taken(directory) for directory, limit in _limits(root)], default=None)


def _limits(root: Path) -> Iterator[tuple[Path, int]]:
    """Give each group that has a limit, from our own upwards."""
    for mount, controller, name in (
        ("sys/fs/cgroup", "", "memory.max"),
        ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes"),
    ):
        group = own_group(root, controller)
        for directory in () if group is None else ancestors(root / mount, group):
            if (found := read(directory / name)).isdecimal() and int(found) < NO_LIMIT:
                yield directory, int(found)


def _taken(group: Path) -> int:
    """Return the bytes that a group takes; 0 if the system does not say."""
    found = read(group / "memory.current") or read(group / "memory.usage_in_bytes")
    lines = (line.split() for line in read(group / "memory.stat").splitlines())
    idle = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}
    # Version 1 adds up what the groups below take under a name of its own.
    return (int(found) if found.isdecimal() else 0) - idle.get("total_inactive_file", idle.get("inactive_file", 0))
