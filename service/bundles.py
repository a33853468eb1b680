"""Bundles on disk: where they are, and whether they are whole.

    <folder>/<name>/bundle.json            one version
    <folder>/<name>/<number>/bundle.json   several; the highest number is the default

Nothing is loaded here. A bundle that is not whole is refused with a reason (`BundleRefused`), which
never keeps the others from being served.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.bundle_schema import Bundle, GraphName

DESCRIPTION = "bundle.json"


class BundleRefused(Exception):
    """Why a folder is not served, in words."""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle whose description is valid and whose files have the digests it records."""

    bundle: Bundle
    directory: Path
    """Where the files are, symbolic links followed: a link may lead elsewhere by the time a graph is loaded."""
    digest: str
    """First 12 hexadecimal digits of the sha256 of `bundle.json`, which names the sha256 of the rest."""

    def read(self, name: str) -> bytes | None:
        """The content of one file; None if the bundle has none of that name.

        Raises:
            BundleRefused: the file is missing, or was changed since the bundle was read.
        """
        if name not in self.bundle.sha256:
            return None
        check_file(self.directory, name, self.bundle.sha256[name])
        return (self.directory / name).read_bytes()

    def check_graph(self, name: GraphName) -> None:
        """Refuses a graph whose files are no longer those of this bundle: it, and what graphs share.

        Raises:
            BundleRefused: a file is missing, or was changed since the bundle was read.
        """
        graphs = {graph.file for graph in self.bundle.graphs.values()}
        for file in self.bundle.sha256:
            if file == self.bundle.graphs[name].file or file not in graphs:
                check_file(self.directory, file, self.bundle.sha256[file])


def find_bundles(folder: Path) -> list[Path]:
    """The directories that mean to be bundles, in order of name, then version."""
    found: list[Path] = []
    for entry in sorted(_subdirectories(folder)):
        if (entry / DESCRIPTION).exists():
            found.append(entry)
        versions = [child for child in _subdirectories(entry) if child.name.isdecimal()]
        found += sorted((v for v in versions if (v / DESCRIPTION).exists()), key=lambda v: int(v.name))
    return found


def _subdirectories(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def fingerprint(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Name, size, time and inode of every file: equal as long as nothing was changed, cheap to take."""
    try:
        stats = sorted((entry.name, entry.stat()) for entry in os.scandir(directory) if entry.is_file())
    except OSError:
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def read_bundle(directory: Path) -> StoredBundle:
    """The bundle in `directory`, checked.

    Raises:
        BundleRefused: not readable, not valid, a file missing, changed or outside the folder.
    """
    place = directory.resolve()
    try:
        description = (place / DESCRIPTION).read_bytes()
        bundle = Bundle.model_validate_json(description)
    except OSError as error:
        raise BundleRefused(f"{DESCRIPTION} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BundleRefused(f"{DESCRIPTION} is not valid: {where}: {first['msg']}") from None
    _check_consistency(bundle)
    _check_place(bundle, directory)
    _check_files(bundle, place)
    return StoredBundle(bundle, place, hashlib.sha256(description).hexdigest()[:12])


def _check_consistency(bundle: Bundle) -> None:
    if "forward" not in bundle.graphs:
        raise BundleRefused("it has no forward graph")
    if not len(bundle.input.mean) == len(bundle.input.std) == bundle.input.channels:
        raise BundleRefused(f"mean and std must have one value for each of the {bundle.input.channels} channels")
    for graph in bundle.graphs.values():
        if graph.file not in bundle.sha256:
            raise BundleRefused(f"there is no checksum for {graph.file}")


def _check_place(bundle: Bundle, directory: Path) -> None:
    """The folder's name is what people see, so it must say the truth."""
    named = (directory.parent.name, directory.name)
    if bundle.name != directory.name and named != (bundle.name, bundle.version):
        raise BundleRefused(f"it calls itself {bundle.name} version {bundle.version}, which its folder is not called")


def _check_files(bundle: Bundle, directory: Path) -> None:
    for name, expected in bundle.sha256.items():
        if Path(name).name != name:
            raise BundleRefused(f"the file name {name!r} leads out of the bundle")
        check_file(directory, name, expected)


def check_file(directory: Path, name: str, expected: str) -> None:
    """Refuses a file that is not the one described.

    Raises:
        BundleRefused: missing, or with another sha256 than `expected`.
    """
    try:
        with (directory / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleRefused(f"{name} cannot be read: {error.strerror}") from None
    if found != expected:
        raise BundleRefused(f"{name} was changed: its checksum is {found[:12]}…, not {expected[:12]}…")
