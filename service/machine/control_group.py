"""Finds the files of this process's control group (cgroup v1 and v2). Any of its ancestors may have a limit too."""

from __future__ import annotations

from pathlib import Path


def own_group(root: Path, controller: str) -> str | None:
    """Return our path in the hierarchy of `controller`; "" is the only hierarchy of version 2."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return None


def ancestors(mount: Path, group: str) -> list[Path]:
    """Return the directory of our group and all above it, up to the mount; a namespace may hide some of them."""
    parts = [part for part in group.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def read(path: Path) -> str:
    """Return the text of a file; "" if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
