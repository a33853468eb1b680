"""A Unix socket: a file to which processes of this machine connect."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from service.http.starting import StartError, reason
from service.settings.reading import names_of_setting

MODE = 0o666
"""Every user of this machine may connect who may enter the folder, as with a port; systemd's and uvicorn's default."""


class SocketFile:
    """A bound Unix socket and its file, which is removed at the end unless another process has put its own there."""

    def __init__(self, path: Path) -> None:
        """Bind the socket, in place of one that nobody listens on any more.

        Raises:
            StartError: another process listens there, the path is something else, or it cannot be made.
        """
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_way(path)
            self.socket.bind(os.fspath(path))
            os.chmod(path, MODE)
            self._file = _identity(path)
        except OSError as error:
            self.socket.close()
            raise StartError(_why(path, _reason(path, error))) from None
        except StartError:
            self.socket.close()
            raise

    def check(self) -> None:
        """Find out whether the file is still that of this socket.

        Raises:
            StartError: a process that started later took the path, because nobody listened yet.
        """
        if not self._is_there():
            raise StartError(_why(self.path, "another process has taken it meanwhile"))

    def remove(self) -> None:
        """Remove the file, unless it is another's."""
        if self._is_there():
            with suppress(OSError):  # the folder may have become read-only; the next start finds nobody listening
                self.path.unlink()

    def _is_there(self) -> bool:
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False


def shown(one: socket.socket) -> str:
    """Return the address of a Unix socket as nginx writes it; `@` begins a name that is no file."""
    name = one.getsockname()
    return "unix:" + ("@" + os.fsdecode(name[1:]) if isinstance(name, bytes) else name)


def _make_way(path: Path) -> None:
    """Remove the socket that a process has left behind which did not end by itself."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(_why(path, "something else is there, and is not removed"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # so many wait for an answer that there is no room for another
    raise StartError(_why(path, "another process listens there"))


def _reason(path: Path, error: OSError) -> str:
    missing = isinstance(error, FileNotFoundError) and not path.parent.is_dir()
    return f"there is no folder {path.parent}" if missing else reason(error)


def _why(path: Path, why: str) -> str:
    return f"{names_of_setting('uds')}: {path}: {why}"


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_mtime_ns  # the number of a removed file is given again
