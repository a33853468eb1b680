"""Follows the symbolic links of a folder to where it truly is."""

from __future__ import annotations

import os
from pathlib import Path


def true_place(folder: Path) -> Path | None:
    """Return the path of a folder without symbolic links; None where no such path leads to it.

    A link of /proc leads into the file system of another container, whatever its text says: KServe's modelcar makes
    /mnt/models a link to /proc/<pid>/root/models. Of such a folder only the path through the link is of any use.

    Raises:
        OSError: the folder cannot be looked at.
    """
    here = os.stat(folder)
    place = os.path.realpath(folder)
    try:
        return Path(place) if os.path.samestat(here, os.stat(place)) else None
    except OSError:
        return None
