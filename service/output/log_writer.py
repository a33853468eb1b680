"""Writes log lines in a thread of its own: a reader that has stopped holds up the log, and nothing else.

Standard error is often a pipe, and a pipe that nobody reads takes 64 KiB. Whoever writes to it then waits; if that is
the event loop, the service stops. So lines are handed over, and what the pipe does not take in time is counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

MOST_WAITING: Final = 2**22
"""Characters of lines that may wait to be written; a line beyond them is lost."""

WEIGHT_OF_UNWRITTEN: Final = 512
"""Characters that a line counts as which is not put into words yet."""

GATHERING: Final = 0.02
"""Seconds after each write in which lines gather for the next: waking a thread costs more than a line."""

AT_ONCE: Final = 2**16
"""Bytes of one write."""


class LogWriter:
    """Takes lines from all threads, and writes them in order. A line is written at once if none was just before."""

    def __init__(self, descriptor: int, loss: Callable[[int], str]) -> None:
        """`loss` returns the line that says how many were lost; it is written when lines are taken again."""
        self._descriptor = descriptor
        self._loss = loss
        self._lock = threading.RLock()  # not Lock: the garbage collector may log while a line is added
        self._lines: list[str | Callable[[], str]] = []
        self._waiting = 0
        self._lost = 0
        self._torn = False
        """True if the last line was written in part."""
        self._woken = False
        """True from a line that wakes the thread until the thread looks for lines."""
        self._wakes: SimpleQueue[None] = SimpleQueue()  # not Event, whose lock is of the other kind
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str | Callable[[], str]) -> None:
        """Have a line written; never waits for the reader.

        A line may be given as a function that returns it, which the thread calls: one after the other, lines cost half
        of what they cost between other work. It must not raise.
        """
        with self._lock:
            if self._waiting > MOST_WAITING:
                self._lost += 1
                return
            self._lines.append(line)
            self._waiting += len(line) if isinstance(line, str) else WEIGHT_OF_UNWRITTEN
        if not self._woken:
            self._wake()

    def close(self, seconds: float) -> None:
        """Write what waits, and end; lines that nobody reads within `seconds` are given up. Waits once."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake()
        self._thread.join(seconds)

    def _wake(self) -> None:
        self._woken = True
        self._wakes.put(None)

    def _run(self) -> None:
        while self._lines or not self._closing.is_set():
            self._wakes.get()
            self._woken = False
            self._write_waiting()
            self._closing.wait(GATHERING)

    def _write_waiting(self) -> None:
        with self._lock:
            lines, self._lines, self._waiting = self._lines, [], 0
            lost, self._lost = self._lost, 0
        if lost:
            lines.append(self._loss(lost))
        if not lines:
            return
        words = "\n".join([line if isinstance(line, str) else line() for line in lines])
        text = memoryview(("\n" * self._torn + words + "\n").encode("utf-8", "backslashreplace"))
        written = 0
        try:
            while written < len(text):
                written += self._write_some(text[written : written + AT_ONCE])
        except OSError:  # the reader has gone, or the disk is full: it may be otherwise for the next lines
            with self._lock:
                self._lost += bytes(text[written:]).count(b"\n")
        if written:
            self._torn = text[written - 1] != ord("\n")

    def _write_some(self, text: memoryview) -> int:
        try:
            return os.write(self._descriptor, text)
        except BlockingIOError:  # whoever shares the pipe has set it so
            select.select([], [self._descriptor], [], 1.0)
            return 0
