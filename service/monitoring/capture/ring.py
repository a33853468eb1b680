"""Files in a folder whose sizes together stay below a bound: the oldest is removed before a new one is begun."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

FILES: Final = 16
"""Files over which the bound is spread; a sixteenth is lost at a time."""
NAME: Final = "contraflow-{start}-{number:06}.jsonl"
NAMES: Final = "contraflow-*.jsonl"
LOCK: Final = ".contraflow.lock"


class Ring:
    """Appends to the files of a folder, which this process alone writes to. Used by one thread.

    A file's name says when the process began to capture, and its number: the order of the names is that of the files.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Make the folder if it is not there.

        Raises:
            OSError: it cannot be made, or nothing can be written there.
        """
        self.folder = folder
        self.largest_file = most_bytes // FILES
        self._most_bytes = most_bytes
        self._start = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._number = 0
        self._file: int | None = None
        self._lock: int | None = None
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder}: this is a file; a folder is needed")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder}: nothing can be written in this folder")

    def append(self, lines: bytes) -> None:
        """Write lines, `largest_file` bytes at most, at the end of the newest file, or none of them.

        Raises:
            OSError: they cannot be written now.
        """
        if self._file is None or not self._has_room(self._file, len(lines)):
            self._file = self._next_file()
        before, rest = os.fstat(self._file).st_size, memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise OSError(error.errno, error.strerror, str(self.folder)) from error

    def close(self) -> None:
        """Close the file, and let another process write to the folder."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _has_room(self, file: int, size: int) -> bool:
        status = os.fstat(file)
        return status.st_nlink > 0 and status.st_size + size <= self.largest_file  # it may have been removed meanwhile

    def _next_file(self) -> int:
        self.close()
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        self._lock = self._locked()
        self._make_room()
        while True:
            self._number += 1
            name = NAME.format(start=self._start, number=self._number)
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                return os.open(self.folder / name, flags, 0o600)

    def _locked(self) -> int:
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            why = "another process captures into this folder; each needs its own"
            raise OSError(error.errno, why, str(self.folder)) from None
        return descriptor

    def _make_room(self) -> None:
        """Remove the oldest files until a whole new one has room."""
        sizes = {file: file.stat().st_size for file in sorted(self.folder.glob(NAMES))}
        room = self._most_bytes - self.largest_file - sum(sizes.values())
        for file, size in sizes.items():
            if room >= 0:
                return
            file.unlink(missing_ok=True)
            room += size
