"""Lines of the log on a real pipe: in order, joined, and counted where nobody reads them."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.output import log_writer
from service.output.log_writer import LogWriter
from tests.service.live_server import PATIENCE_SECONDS, wait_until

LINES = [f"line {number} " + "x" * 100 for number in range(2000)]
PROMPT = 10.0
"""Seconds: more than a busy machine takes, and less than anybody who waits for something would."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with suppress(OSError):
            os.close(end)


def writer(descriptor: int) -> LogWriter:
    return LogWriter(descriptor, lambda number: f"{number} lost")


def waiting_in(descriptor: int) -> int:
    """Return the bytes that a pipe holds."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def read(descriptor: int) -> str:
    received = b""
    while not received.endswith(b"the end\n"):
        received += os.read(descriptor, 2**16)
    return received.decode()


def test_a_line_is_written_at_once_and_bursts_are_in_order(pipe: tuple[int, int]) -> None:
    log = writer(pipe[1])
    began = time.monotonic()
    log.write("first")
    assert os.read(pipe[0], 100) == b"first\n"
    assert time.monotonic() - began < PROMPT
    for line in LINES[:500]:
        log.write(line)
    log.write("the end")
    assert read(pipe[0]).splitlines() == [*LINES[:500], "the end"]
    log.close(5)


def test_what_a_full_pipe_does_not_take_is_counted_and_holds_nobody_up(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MOST_WAITING", 100_000)
    log = writer(pipe[1])
    began = time.monotonic()
    for line in LINES[:700]:
        log.write(line)
    wait_until(lambda: waiting_in(pipe[0]) > 60_000)  # the writer waits for the pipe
    for line in LINES[700:]:
        log.write(line)
    log.close(0.05)
    assert time.monotonic() - began < PROMPT
    received = b""
    while b"lost\n" not in received:
        received += os.read(pipe[0], 2**16)
    lines = received.decode().splitlines()
    kept = lines[:-1]
    assert kept == LINES[: len(kept)]
    assert lines[-1] == f"{len(LINES) - len(kept)} lost"


def test_a_disk_that_is_full_for_a_while_costs_its_lines_only() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    reading, writing = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    aside = os.dup(writing)
    os.dup2(full, writing)
    log = writer(writing)
    log.write("this is lost")
    wait_until(lambda: log._lost == 1)
    os.dup2(aside, writing)
    log.write("the end")
    log.close(5)
    os.close(aside)
    os.close(writing)
    with os.fdopen(reading, "rb") as rest:
        assert rest.read() == b"the end\n1 lost\n"


def test_the_last_lines_are_written_at_the_end(pipe: tuple[int, int]) -> None:
    log = writer(pipe[1])
    for line in LINES[:100]:
        log.write(line)
    log.close(5)
    os.close(pipe[1])
    assert os.read(pipe[0], 2**16).decode().splitlines() == LINES[:100]


def test_lines_that_nobody_reads_are_waited_for_once(pipe: tuple[int, int]) -> None:
    log = writer(pipe[1])
    for line in LINES[:700]:  # more than a pipe takes
        log.write(line)
    log.close(0.1)
    began = time.monotonic()
    log.close(PATIENCE_SECONDS)  # as `logging.shutdown` does once more
    assert time.monotonic() - began < PROMPT
