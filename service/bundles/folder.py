"""Which bundles are in a folder, and which entries the system does not let us look at.

    <folder>/<name>/bundle.json            one version
    <folder>/<name>/<number>/bundle.json   several; the highest number is the default

An error of the system is never taken for an answer. An entry that was listed and is then not found has been removed.
Every other error says nothing about what is there, and is reported as that. No file is opened here.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from service.contract.bundle_schema import BUNDLE_FILE
from service.output.system_errors import system_reason

POSSIBLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names that a bundle may have. `lost+found` is not one, so it is not reported when it cannot be read."""

LEADS_NOWHERE = "its symbolic link leads nowhere"

Fingerprint = tuple[tuple[str, int, int, int, int], ...]
"""Name, size, mtime, ctime and inode of every file."""


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A directory with a `bundle.json`, and the state of its files."""

    directory: Path
    fingerprint: Fingerprint
    is_called: bool = True
    """True if its folder must be called what the bundle is called, because people find it by that name."""


@dataclass(frozen=True, slots=True)
class Look:
    """Findings of one look, at one source of bundles or at several."""

    bundles: dict[Path, FoundBundle] = field(default_factory=dict)
    """Place of a bundle → the bundle, by name, then version. The place is what people see: the bundle's own
    directory, or the file that it was imported from."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Places that may be or hold bundles but could not be looked at → why."""
    refused: dict[Path, str] = field(default_factory=dict)
    """Places whose present state makes no bundle → why; a bundle of an earlier state may be found there."""

    importing: set[Path] = field(default_factory=set)
    """Places of models that are being imported for the first time."""

    def reason_unknown(self, place: Path) -> str | None:
        """Return why nothing is known of a place: it, or a folder above it, could not be looked at. Else None."""
        return next((self.unreadable[path] for path in (place, *place.parents) if path in self.unreadable), None)

    def add(self, other: Look) -> None:
        self.bundles.update(other.bundles)
        self.unreadable.update(other.unreadable)
        self.refused.update(other.refused)
        self.importing.update(other.importing)


def look_at(folder: Path) -> Look:
    """Find the bundles in `folder`, and what could not be looked at.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    look = Look()
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
                look.unreadable[entry] = system_reason(error)
            continue
        _look_at_versions(entry, names, look)
    return look


def look_at_bundle(directory: Path) -> Look:
    """Find the one bundle in `directory`, or its versions, whatever the folder is called.

    Raises:
        OSError: the directory itself cannot be listed.
    """
    look = Look()
    _look_at_versions(directory, _names(directory), look)
    look.bundles.update({place: replace(found, is_called=False) for place, found in look.bundles.items()})
    return look


def _names(directory: Path) -> list[str]:
    """Return the names in `directory` that are not hidden; the real folders behind a mounted ConfigMap are hidden."""
    return [name for name in os.listdir(directory) if not name.startswith(".")]


def _is_directory(path: Path) -> bool:
    """Return whether `path` is a directory, links followed; raise OSError if that cannot be found out."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        if os.path.islink(path):
            raise OSError(None, LEADS_NOWHERE) from None
        raise


def _look_at_versions(directory: Path, names: list[str], look: Look) -> None:
    _look_at_bundle(directory, names, look)
    for version in sorted((n for n in names if n.isascii() and n.isdecimal()), key=int):
        _look_at_version(directory / version, look)


def _look_at_version(directory: Path, look: Look) -> None:
    try:
        if _is_directory(directory):
            _look_at_bundle(directory, _names(directory), look)
    except FileNotFoundError:
        pass  # removed since it was listed
    except OSError as error:
        look.unreadable[directory] = system_reason(error)


def _look_at_bundle(directory: Path, names: list[str], look: Look) -> None:
    if BUNDLE_FILE not in names:
        return
    try:
        state = _fingerprint(directory, names)
        # `os.path.exists` is False for every error. All errors but a missing target were raised above.
        if not os.path.exists(directory / BUNDLE_FILE) and os.path.islink(directory / BUNDLE_FILE):
            raise OSError(None, f"{BUNDLE_FILE}: {LEADS_NOWHERE}")
        look.bundles[directory] = FoundBundle(directory, state)
    except OSError as error:
        look.unreadable[directory] = system_reason(error)


def _fingerprint(directory: Path, names: list[str]) -> Fingerprint:
    """Return a value that changes when a file does; raise OSError if the state of a file cannot be read."""
    marks = []
    for name in sorted(names):
        try:
            status = os.stat(directory / name)
        except FileNotFoundError:
            continue  # the link leads nowhere, or the file was removed meanwhile
        if not stat.S_ISDIR(status.st_mode):
            marks.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return tuple(marks)
