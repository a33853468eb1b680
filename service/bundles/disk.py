"""One bundle on disk: its description, and whether all its files are there and unchanged.

No graph is loaded here. A bundle that is not whole is refused with a reason (`BundleRefused`); the others are served
all the same. Where an error of the system keeps a bundle from being read, nothing is known about it, and it is looked
at again later (`BundleUnreadable`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from service.bundles.folder import POSSIBLE_NAME
from service.contract.bundle_schema import BUNDLE_FILE, Bundle, GraphName
from service.output.printable import printable
from service.output.system_errors import system_reason
from service.output.true_places import true_place

LARGEST_DESCRIPTION = 16 * 2**20
"""Most bytes of `bundle.json`, a hundred times the largest that we write."""

BLOCK = 2**17
"""Bytes read at a time."""

LONGEST_NAME = 255
"""Most bytes of a file name."""


class BundleRefused(Exception):
    """The bundle is not served until its files change; the message says why."""


class BundleUnreadable(BundleRefused):
    """The bundle cannot be read at the moment; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle whose description is valid, and whose files have the digests that it records."""

    bundle: Bundle
    directory: Path
    """Folder of the files with symbolic links followed, because a link may lead elsewhere when a graph is loaded.

    As it was named where it is in another container's file system (`true_place`)."""
    digest: str
    """First 12 hexadecimal digits of the sha256 of `bundle.json`, which has the sha256 of all other files."""

    def read(self, name: str) -> bytes | None:
        """Return the content of one file; None if the bundle has no file of that name.

        Raises:
            BundleUnreadable: the file cannot be read at the moment.
            BundleRefused: the file is missing, or was changed since the bundle was read.
        """
        if name not in self.bundle.sha256:
            return None
        with _opened(self.directory, name) as file:
            content = _read(file, name)
        _check_digest(name, hashlib.sha256(content).hexdigest(), self.bundle.sha256[name])
        return content

    def check_graph(self, name: GraphName) -> None:
        """Check that the files of a graph are still those of this bundle, its own and those that graphs share.

        Raises:
            BundleUnreadable: a file cannot be read at the moment.
            BundleRefused: a file is missing, or was changed since the bundle was read.
        """
        for file in self._files_of(name):
            check_file(self.directory, file, self.bundle.sha256[file])

    def content_of(self, name: GraphName) -> tuple[tuple[str, str], ...]:
        """Return names and digests of the files that a graph is made of; its own file has no name here.

        Graphs of equal content compute the same, whichever bundles they belong to.
        """
        own = self.bundle.graphs[name].file
        return tuple(("" if file == own else file, self.bundle.sha256[file]) for file in self._files_of(name))

    def _files_of(self, name: GraphName) -> list[str]:
        graphs = {graph.file for graph in self.bundle.graphs.values()}
        return sorted(f for f in self.bundle.sha256 if f == self.bundle.graphs[name].file or f not in graphs)


def read_bundle(directory: Path, *, is_called: bool = True) -> StoredBundle:
    """Read and check the bundle in `directory`, which must be called what the bundle is called if `is_called`.

    Raises:
        BundleUnreadable: a file cannot be read at the moment.
        BundleRefused: the description is not valid, or a file is missing, changed or outside the folder.
    """
    place = _followed(directory)
    with _opened(place, BUNDLE_FILE) as file:
        description = _read(file, BUNDLE_FILE, LARGEST_DESCRIPTION)
    try:
        bundle = Bundle.parsed(description)
    except ValueError as error:
        raise BundleRefused(printable(str(error))) from None
    _check_consistency(bundle)
    if is_called:
        _check_place(bundle, directory)
    for name in bundle.sha256:
        _check_name(name)
    for name, expected in bundle.sha256.items():
        check_file(place, name, expected)
    return StoredBundle(bundle, place, hashlib.sha256(description).hexdigest()[:12])


def read_identity(directory: Path) -> tuple[str, str]:
    """Return name and version of a bundle by its description, of which nothing else is checked.

    Raises:
        BundleUnreadable: the description cannot be read at the moment.
        BundleRefused: it names no model.
    """
    with _opened(directory, BUNDLE_FILE) as file:
        description = _read(file, BUNDLE_FILE, LARGEST_DESCRIPTION)
    try:
        stated = json.loads(description)
        name, version = stated["name"], stated.get("version", "1")
        if POSSIBLE_NAME.fullmatch(name) and version.isascii() and version.isdecimal():
            return name, version
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise BundleRefused(f"{BUNDLE_FILE} names no model")


def check_file(directory: Path, name: str, expected: str) -> None:
    """Check that a file has the sha256 `expected`.

    Raises:
        BundleUnreadable: it cannot be read at the moment.
        BundleRefused: it is missing, is no plain file, or has another sha256.
    """
    with _opened(directory, name) as file:
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _refusal(name, error) from None
    _check_digest(name, found, expected)


def _followed(directory: Path) -> Path:
    try:
        return true_place(directory) or directory.absolute()
    except OSError as error:
        raise _refusal(BUNDLE_FILE, error) from None


def _check_consistency(bundle: Bundle) -> None:
    if "forward" not in bundle.graphs:
        raise BundleRefused("it has no forward graph")
    if not len(bundle.input.mean) == len(bundle.input.std) == bundle.input.channels:
        raise BundleRefused(f"mean and std must have one value for each of the {bundle.input.channels} channels")
    for graph in bundle.graphs.values():
        if graph.file not in bundle.sha256:
            raise BundleRefused(f"there is no checksum for {printable(graph.file)}")


def _check_place(bundle: Bundle, directory: Path) -> None:
    """Check that the folder is called what the bundle is called, because people see the folder's name."""
    named = (directory.parent.name, directory.name)
    if bundle.name != directory.name and named != (bundle.name, bundle.version):
        raise BundleRefused(
            f"it is version {bundle.version} of {bundle.name}, so its folder must be called "
            f"{bundle.name}/{bundle.version} or {bundle.name}"
        )


def _check_name(name: str) -> None:
    if "/" in name or name in ("", ".", ".."):
        raise BundleRefused(f"the file name {printable(name)!r} leads out of the bundle")
    if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise BundleRefused(f"{printable(name, 60)!r} is no name of a file")


def _opened(directory: Path, name: str) -> BufferedReader:
    """Open a plain file for reading. Any other kind might keep its reader waiting for ever."""
    path = directory / name
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleRefused(f"{name} is no plain file")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was replaced since the first check
            os.close(descriptor)
            raise BundleUnreadable(f"{name} was changed while it was read")
        return os.fdopen(descriptor, "rb")
    except OSError as error:
        raise _refusal(name, error) from None


def _read(file: BufferedReader, name: str, most: int | None = None) -> bytes:
    content = bytearray()
    try:
        while block := file.read(BLOCK):  # in blocks, so that memory follows the content, not the size that is claimed
            content += block
            if most is not None and len(content) > most:
                raise BundleRefused(f"{name} has more than {most:,} bytes")
    except OSError as error:
        raise _refusal(name, error) from None
    return bytes(content)


def _check_digest(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise BundleRefused(f"{name} was changed: its checksum is {found[:12]}…, not {printable(expected)[:12]}…")


def _refusal(name: str, error: OSError) -> BundleRefused:
    """Return the refusal for an error: a missing file is a fault of the bundle, all else an error of the system."""
    lasting = isinstance(error, FileNotFoundError) or error.errno == errno.ENAMETOOLONG
    kind = BundleRefused if lasting else BundleUnreadable
    return kind(f"{name} cannot be read: {system_reason(error)}")
