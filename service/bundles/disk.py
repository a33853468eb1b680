"""One bundle on disk: what it says of itself, and whether it is whole.

No graph is loaded here. A bundle that is not whole is refused with a reason (`BundleRefused`), which
never keeps the others from being served. Where the reason lies with the system and may pass, that is
told apart (`BundleUnreadable`): nothing is known of the bundle then, and it is looked at again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from pydantic import ValidationError

from service.bundles.folder import DESCRIPTION, why
from service.contract.bundle_schema import Bundle, GraphName
from service.output.printable import printable

LARGEST_DESCRIPTION = 16 * 2**20
"""Bytes of `bundle.json`; a hundred times the largest that we write."""

BLOCK = 2**17
"""Bytes read at a time."""

LONGEST_NAME = 255
"""Bytes of a file name."""


class BundleRefused(Exception):
    """Why a folder is not served, in words; it stays so until its files change."""


class BundleUnreadable(BundleRefused):
    """Why nothing can be said of a folder at the moment, in words."""


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
        """Refuses a graph whose files are no longer those of this bundle: it, and what graphs share.

        Raises:
            BundleUnreadable: a file cannot be read at the moment.
            BundleRefused: a file is missing, or was changed since the bundle was read.
        """
        for file in self._files_of(name):
            check_file(self.directory, file, self.bundle.sha256[file])

    def content_of(self, name: GraphName) -> tuple[tuple[str, str], ...]:
        """Names and digests of all that a graph is made of; the graph's own file goes without its name.

        Graphs of equal content compute the same, whichever bundles they belong to.
        """
        own = self.bundle.graphs[name].file
        return tuple(("" if file == own else file, self.bundle.sha256[file]) for file in self._files_of(name))

    def _files_of(self, name: GraphName) -> list[str]:
        graphs = {graph.file for graph in self.bundle.graphs.values()}
        return sorted(f for f in self.bundle.sha256 if f == self.bundle.graphs[name].file or f not in graphs)


def read_bundle(directory: Path) -> StoredBundle:
    """The bundle in `directory`, checked.

    Raises:
        BundleUnreadable: a file cannot be read at the moment.
        BundleRefused: not valid, a file missing, changed or outside the folder.
    """
    place = Path(os.path.realpath(directory))
    with _opened(place, DESCRIPTION) as file:
        description = _read(file, DESCRIPTION, LARGEST_DESCRIPTION)
    try:
        bundle = Bundle.model_validate_json(description)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BundleRefused(printable(f"{DESCRIPTION} is not valid: {where}: {first['msg']}")) from None
    _check_consistency(bundle)
    _check_place(bundle, directory)
    for name in bundle.sha256:
        _check_name(name)
    for name, expected in bundle.sha256.items():
        check_file(place, name, expected)
    return StoredBundle(bundle, place, hashlib.sha256(description).hexdigest()[:12])


def check_file(directory: Path, name: str, expected: str) -> None:
    """Refuses a file that is not the one described.

    Raises:
        BundleUnreadable: it cannot be read at the moment.
        BundleRefused: missing, no plain file, or with another sha256 than `expected`.
    """
    with _opened(directory, name) as file:
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _refusal(name, error) from None
    _check_digest(name, found, expected)


def _check_consistency(bundle: Bundle) -> None:
    if "forward" not in bundle.graphs:
        raise BundleRefused("it has no forward graph")
    if not len(bundle.input.mean) == len(bundle.input.std) == bundle.input.channels:
        raise BundleRefused(f"mean and std must have one value for each of the {bundle.input.channels} channels")
    for graph in bundle.graphs.values():
        if graph.file not in bundle.sha256:
            raise BundleRefused(f"there is no checksum for {printable(graph.file)}")


def _check_place(bundle: Bundle, directory: Path) -> None:
    """The folder's name is what people see, so it must say the truth."""
    named = (directory.parent.name, directory.name)
    if bundle.name != directory.name and named != (bundle.name, bundle.version):
        raise BundleRefused(f"it calls itself {bundle.name} version {bundle.version}, which its folder is not called")


def _check_name(name: str) -> None:
    if "/" in name or name in ("", ".", ".."):
        raise BundleRefused(f"the file name {printable(name)!r} leads out of the bundle")
    if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise BundleRefused(f"{printable(name, 60)!r} is no name of a file")


def _opened(directory: Path, name: str) -> BufferedReader:
    """A plain file, opened for reading; anything else might keep its reader waiting for ever."""
    path = directory / name
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleRefused(f"{name} is no plain file")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # another one by now
            os.close(descriptor)
            raise BundleUnreadable(f"{name} was changed while it was read")
        return os.fdopen(descriptor, "rb")
    except OSError as error:
        raise _refusal(name, error) from None


def _read(file: BufferedReader, name: str, most: int | None = None) -> bytes:
    content = bytearray()
    try:
        while block := file.read(BLOCK):  # in blocks: memory follows what is there, whatever size the file claims
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
    """A file that is not there is a fault of the bundle; every other error is one of the system."""
    lasting = isinstance(error, FileNotFoundError) or error.errno == errno.ENAMETOOLONG
    kind = BundleRefused if lasting else BundleUnreadable
    return kind(f"{name} cannot be read: {why(error)}")
