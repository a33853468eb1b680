"""A server in a process of its own: started, waited for, watched from outside, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from bench.harness.paths import ROOT
from bench.harness.readings import every_model_ready

START_SECONDS = 120.0
END_SECONDS = 15.0
QUIET = ("--drain-delay", "0", "--log-level", "error")


class Server:
    """A running server and what it costs; children count as the server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.root = psutil.Process(process.pid)
        self.ready_seconds = 0.0
        """Seconds from the start to the first answer that counts as ready."""

    def processor_seconds(self) -> float:
        """Return user and system time so far."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def resident_bytes(self) -> int:
        """Return the resident memory of the first process."""
        return int(self.root.memory_info().rss)

    def proportional_megabytes(self) -> float:
        """Return the proportional set size in MB: shared pages are counted once."""
        return self._sum(lambda process: process.memory_full_info().pss) / 1e6

    def _sum(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in (self.root, *self.root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += figure(process)
        return total


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    ready: Callable[[int], bool],
    *,
    environment: Mapping[str, str] | None = None,
    seconds: float = START_SECONDS,
) -> Iterator[Server]:
    """Run `command`, which listens on `port`, from when `ready(port)` holds to the end of the context.

    Raises:
        RuntimeError: it ended, or was not ready within `seconds`; the message has the last line of its log.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env={**os.environ, **(environment or {})}, cwd=ROOT, stdout=output, stderr=output
            )
        server = Server(process, port, log)
        try:
            while not _holds(ready, port):
                if process.poll() is not None or time.monotonic() > began + seconds:
                    lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
                    raise RuntimeError(f"does not start: {lines[-1][:200]}")
                time.sleep(0.02)
            server.ready_seconds = time.monotonic() - began
            yield server
        finally:
            _end(server)


def _holds(ready: Callable[[int], bool], port: int) -> bool:
    try:
        return ready(port)
    except (httpx.HTTPError, ValueError):  # not listening yet, or no JSON yet
        return False


def _end(server: Server) -> None:
    family = []
    with suppress(psutil.NoSuchProcess):
        family = server.root.children(recursive=True)
    server.process.terminate()
    try:
        server.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.kill()


@contextmanager
def service(
    bundles: Path, *flags: str, ready: Callable[[int], bool] = every_model_ready, seconds: float = START_SECONDS
) -> Iterator[Server]:
    """Run `python -m service` over `bundles` with `flags`."""
    port = free_port()
    command = [*service_command(port, bundles), *QUIET, *flags]
    with running(command, port, ready, environment={"MALLOC_ARENA_MAX": "2"}, seconds=seconds) as server:
        yield server


def service_command(port: int, bundles: Path) -> list[str]:
    """Return the command that serves `bundles` on `port`."""
    return [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles)]


@contextmanager
def services(count: int, bundles: Path, *flags: str) -> Iterator[list[Server]]:
    """Run several services side by side."""
    with ExitStack() as stack:
        yield [stack.enter_context(service(bundles, *flags)) for _ in range(count)]
