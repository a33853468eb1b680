"""Where the files of our control group are, in versions 1 and 2; a limit may sit on any of its ancestors."""

from __future__ import annotations

from pathlib import Path


def own_group(root: Path, controller: str) -> str | None:
    """Our path in the hierarchy of `controller` ("" is version 2's only one)."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return None


def ancestors(mount: Path, group: str) -> list[Path]:
    """Our group's directory and all above it, down to the mount; a namespace may hide some of them."""
    parts = [part for part in group.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def read(path: Path) -> str:
    """The file's text, "" if there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
