"""The folder of bundles, looked at: which bundles are there, and what the system would not show.

    <folder>/<name>/bundle.json            one version
    <folder>/<name>/<number>/bundle.json   several; the highest number is the default

An error of the system is never taken for an answer. After a listing, an entry that is not found has
been removed; everything else that goes wrong says nothing about what is there, and is told apart.
Nothing is opened here, and no content is read.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

DESCRIPTION = "bundle.json"

POSSIBLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A bundle may have such a name: `lost+found` is none, so that nobody misses a bundle where it cannot be read."""

LEADS_NOWHERE = "its symbolic link leads nowhere"

Fingerprint = tuple[tuple[str, int, int, int, int], ...]
"""Name, size, times of change (content, then permissions and owner too) and inode of every file."""


@dataclass(frozen=True, slots=True)
class Look:
    """The findings of one look at the folder."""

    device: int
    """The file system that the folder is on."""
    bundles: dict[Path, Fingerprint] = field(default_factory=dict)
    """The directories that mean to be bundles, in order of name, then version."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Directories that may be a bundle or hold some, but could not be looked at → why."""

    def hindrance(self, directory: Path) -> str | None:
        """Why nothing can be said of a directory: it, or one above it, could not be looked at."""
        for path in (directory, directory.parent):
            if path in self.unreadable:
                return self.unreadable[path]
        return None


def look_at(folder: Path) -> Look:
    """The bundles in `folder` and what could not be looked at.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    look = Look(os.stat(folder).st_dev)
    for name in sorted(_names(folder)):
        entry = folder / name
        try:
            if not _is_directory(entry):
                continue
            names = _names(entry)
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except OSError as error:
            if POSSIBLE_NAME.fullmatch(name):
                look.unreadable[entry] = why(error)
            continue
        _look_at_bundle(entry, names, look)
        for version in sorted((n for n in names if n.isascii() and n.isdecimal()), key=int):
            _look_at_version(entry / version, look)
    return look


def why(error: OSError) -> str:
    """The system's own words for `error`, without the path."""
    return error.strerror or type(error).__name__


def _names(directory: Path) -> list[str]:
    """The names in `directory`, but for hidden entries, such as the real folders behind a mounted ConfigMap."""
    return [name for name in os.listdir(directory) if not name.startswith(".")]


def _is_directory(path: Path) -> bool:
    """True if it is one, links followed; OSError if that cannot be said."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        if os.path.islink(path):
            raise OSError(None, LEADS_NOWHERE) from None
        raise


def _look_at_version(directory: Path, look: Look) -> None:
    try:
        if _is_directory(directory):
            _look_at_bundle(directory, _names(directory), look)
    except FileNotFoundError:
        pass  # removed since it was listed
    except OSError as error:
        look.unreadable[directory] = why(error)


def _look_at_bundle(directory: Path, names: list[str], look: Look) -> None:
    if DESCRIPTION not in names:
        return
    try:
        fingerprint = _fingerprint(directory, names)
        # Only now does "there is none" mean that: every other reason why a link cannot be followed was raised above.
        if not os.path.exists(directory / DESCRIPTION) and os.path.islink(directory / DESCRIPTION):
            raise OSError(None, f"{DESCRIPTION}: {LEADS_NOWHERE}")
        look.bundles[directory] = fingerprint
    except OSError as error:
        look.unreadable[directory] = why(error)


def _fingerprint(directory: Path, names: list[str]) -> Fingerprint:
    """Equal as long as no file was changed, and cheap to take; OSError if a file's state cannot be asked for."""
    marks = []
    for name in sorted(names):
        try:
            status = os.stat(directory / name)
        except FileNotFoundError:
            continue  # a link that leads nowhere, or a file that was removed meanwhile
        if not stat.S_ISDIR(status.st_mode):
            marks.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return tuple(marks)
