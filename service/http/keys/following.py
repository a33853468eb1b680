"""A file of keys, looked at again and again: its keys change without a restart.

What is wrong with the file is never taken for "no keys". Until it is well again, the keys before stay valid.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path
from typing import Final

from service.http.keys.key import KeysUnusable, read_lines
from service.http.keys.ring import KeyRing
from service.output.printable import printable
from service.output.system_errors import system_reason

log = logging.getLogger("contraflow.keys")

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks. A new content counts once two looks have found it: one may see it half written."""

LARGEST: Final = 2**20
"""Bytes of the largest file, about ten thousand keys."""


class KeysFile:
    """Brings the keys of a file into a ring: at once, and then from a thread of its own, as file systems can hang."""

    def __init__(self, path: Path, ring: KeyRing) -> None:
        """Take over the keys of the file.

        Raises:
            KeysUnusable: it cannot be read, has no key, or a line that is none.
        """
        self._path = path
        self._ring = ring
        self._shown = printable(str(path))
        self._content = content_of(path)
        """The content whose keys are valid."""
        self._last: tuple[bytes | None, str] = self._content, ""
        """The content or the error that the last look found."""
        self._said = ""
        """The reason that was logged last; empty once the file is well."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="keys", daemon=True)
        ring.take_over(read_lines(self._content))

    def start(self) -> None:
        log.info("keys: %d, with those of %s", len(self._ring), self._shown)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that hangs in the file system is left behind."""
        self._stop.set()
        self._thread.join(timeout=LOOK_SECONDS)

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # a thread that ended would keep retired keys valid for ever
                self._ring.errors += 1
                log.exception("keys: %s could not be looked at", self._shown)

    def look(self) -> None:
        """Look at the file once, and take its keys over if this look and the last have found the same new ones."""
        content, reason = None, ""
        try:
            content = content_of(self._path)
        except KeysUnusable as error:
            reason = str(error)
        if (content, reason) != self._last:
            self._last = content, reason
            return
        if content is not None and content != self._content:
            try:
                new, gone = self._ring.take_over(read_lines(content))
            except KeysUnusable as error:
                reason = str(error)
            else:
                self._content = content
                log.info("keys: %s has changed: %d new, %d gone, %d valid", self._shown, new, gone, len(self._ring))
        self._say(reason)

    def _say(self, reason: str) -> None:
        self._ring.errors += bool(reason)
        if reason and reason != self._said:
            log.error("keys: %s is not taken over, and the keys before stay valid: %s", self._shown, reason)
        elif self._said and not reason:
            log.info("keys: %s is well again", self._shown)
        self._said = reason


def content_of(path: Path) -> bytes:
    """Return the content of a file of keys.

    Raises:
        KeysUnusable: the system does not let it be read, or it is too large or no file; with the reason.
    """
    try:
        # Opening a pipe without a writer would wait for one.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeysUnusable("it is no file that can be read again and again")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeysUnusable(system_reason(error)) from None
    if len(content) > LARGEST:
        raise KeysUnusable(f"it has more than {LARGEST:,} bytes")
    return content
