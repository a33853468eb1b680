"""The files that an import reads: which they are, their state, and the digest of their content.

They are found without reading ONNX: the file, or all .onnx files and descriptions of a folder; the files that the
.onnx files name as the place of their weights; and files that flags name. One file too many does no harm but a needless
import.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from service.sources.kinds import files_below

DESCRIPTION: Final = re.compile(
    r"(.*(label|class|name|categor|synset|config|processor|meta).*|inference|args|data|cvexport)"
    r"\.(json|jsonl|txt|csv|ya?ml|pbtxt|manifest|names)",
    re.IGNORECASE,
)
"""Names of files that may describe a model; a log, which changes all the time, has none of them."""
TRITON: Final = "config.pbtxt"
"""It may name any file beside it as that of the labels."""
REFERENCES: Final = "refs"
"""Folder of a hub's cache in which a file says which snapshot counts."""
LARGEST_DESCRIPTION: Final = 2**20
"""Most bytes of a description; a larger file is data."""
EXTERNAL: Final = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff]\x01)")
"""An entry "location" of a tensor's external data as protobuf writes it, up to the length of its value."""

State = tuple[tuple[str, int, int, int, int], ...]
"""Path, size, mtime, ctime and inode of every file."""


class Inputs:
    """The files that the import of one path reads."""

    def __init__(self, path: Path, named_by_flags: Sequence[Path] = ()) -> None:
        self.path = path
        self._named = tuple(named_by_flags)
        self._weights: dict[tuple[str, int, int, int, int], tuple[Path, ...]] = {}
        """State of an .onnx file → where it says that its weights are."""

    def state(self) -> State:
        """Return a value that changes when one of the files does.

        Raises:
            OSError: the path is gone, or a file cannot be looked at.
        """
        marks = {}
        for file in self._candidates():
            marks[file] = mark = _mark(file)
            if file.suffix.lower() == ".onnx" or file == self.path:
                for weights in self._weights_of(file, mark):
                    if weights.is_file():
                        marks[weights] = _mark(weights)
        self._weights = {mark: self._weights[mark] for mark in marks.values() if mark in self._weights}
        return tuple(sorted(marks.values()))

    def digest(self, state: State) -> str:
        """Return the sha256 of the content of the files, with their places relative to the path.

        Raises:
            OSError: a file cannot be read.
        """
        whole = hashlib.sha256()
        for path, *_ in state:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{os.path.relpath(path, self.path)}\0{content}\n".encode(errors="surrogateescape"))
        return whole.hexdigest()

    def _candidates(self) -> Iterator[Path]:
        yield from self._named
        if self.path.is_dir():
            files = list(files_below(self.path))
            labelled = {file.parent for file in files if file.name == TRITON}
            for file in files:
                if file.suffix.lower() == ".onnx" or _describes(file) or (file.parent in labelled and _is_small(file)):
                    yield file
        else:
            yield self.path

    def _weights_of(self, file: Path, mark: tuple[str, int, int, int, int]) -> tuple[Path, ...]:
        if mark not in self._weights:
            self._weights[mark] = tuple(file.parent / name for name in _external_files(file))
        return self._weights[mark]


def _describes(file: Path) -> bool:
    return (DESCRIPTION.fullmatch(file.name) is not None or file.parent.name == REFERENCES) and _is_small(file)


def _is_small(file: Path) -> bool:
    return file.stat().st_size <= LARGEST_DESCRIPTION


def _mark(file: Path) -> tuple[str, int, int, int, int]:
    status = os.stat(file)
    return str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _external_files(file: Path) -> list[str]:
    """Return the names of files that an ONNX file names as the place of weights, found by their form in its bytes."""
    names: dict[str, None] = {}
    with open(file, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return []
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for entry in EXTERNAL.finditer(content):
                length = entry[1][0] if len(entry[1]) == 1 else entry[1][0] - 0x80 + 0x80 * entry[1][1]
                name = content[entry.end() : entry.end() + length]
                if b"\0" not in name:
                    names[os.fsdecode(name)] = None
    return list(names)
