"""CPU time of one `/predict` by part: the service in this process, under load, with clocks around its parts.

Runs in a process of its own and prints JSON: microseconds of CPU per request by part, in the order of the
work. Time between the parts is the rest of its thread.
Threads and parts are measured by the thread's own CPU clock, so that other work on the machine hardly counts;
reading that clock costs some of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import service.engine.execution
from bench.harness.paths import ROOT
from service.app import create_app
from service.contract.runtime import Session
from service.engine.engine import Engine
from service.engine.ledger import Ledger
from service.http.calls.gateway import Gateway
from service.http.connection.client_connection import ClientConnection
from service.http.connection.cycle import Cycle
from service.http.routes.predict import AnswerWriter
from service.http.server import HttpServer, listen
from service.settings import Settings

RUN_SLOTS = "run slots: "
EVENT_LOOP = "event loop: "
REST = {
    RUN_SLOTS: "softmax, ranking, sharing out, queue, waking the event loop",
    EVENT_LOOP: "handing over, reading from sockets",
}


class Clocks:
    """CPU seconds by part, without those of the parts within it."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._within = Within()

    def put_around_parts(self) -> None:
        """Replace the functions that do each part by the same with a clock around."""
        parts: tuple[tuple[Any, str, str], ...] = (
            (ClientConnection, "data_received", EVENT_LOOP + "HTTP parsing (uvicorn, httptools)"),
            (Gateway, "begin", EVENT_LOOP + "id, key, deadline, model"),
            (Engine, "submit", EVENT_LOOP + "into the queue"),
            (service.engine.execution, "_pixels_or_tensor", RUN_SLOTS + "decoding (libjpeg-turbo)"),
            (service.engine.execution, "_tensor", RUN_SLOTS + "normalisation"),
            (Session, "run", RUN_SLOTS + "ONNX Runtime"),
            (AnswerWriter, "write", EVENT_LOOP + "answer as JSON"),
            (Cycle, "write", EVENT_LOOP + "writing to the socket"),
            (Ledger, "request_finished", EVENT_LOOP + "metrics"),
        )
        for owner, name, part in parts:
            self.spent[part] = 0.0
            setattr(owner, name, self._around(part, getattr(owner, name)))

    def _around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            before, self._within.seconds = self._within.seconds, 0.0
            began = time.thread_time()
            try:
                return function(*arguments, **keywords)
            finally:
                whole = time.thread_time() - began
                self.spent[part] += whole - self._within.seconds
                self._within.seconds = before + whole

        return timed


class Within(threading.local):
    """CPU seconds of the parts within the one that this thread is in."""

    seconds = 0.0


def thread_seconds() -> dict[str, float]:
    """Return the CPU seconds so far of the run slots together and of the event loop."""
    total: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.ident is not None:
            kind = RUN_SLOTS if thread.name.startswith("run-") else EVENT_LOOP
            if thread is threading.main_thread() or kind == RUN_SLOTS:
                total[kind] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return total


class Profiler(threading.Thread):
    """Loads the service of this process, reads the clocks, and ends the process."""

    def __init__(self, clocks: Clocks, gateway: Gateway, port: int, options: argparse.Namespace) -> None:
        super().__init__(name="profiler")
        self._clocks, self._gateway, self._port, self._options = clocks, gateway, port, options
        self.result: dict[str, float] = {}

    def run(self) -> None:
        try:
            self._gateway.service.loader.started.wait()
            self._load(1.0)
            self.result = self._profile()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _profile(self) -> dict[str, float]:
        parts_before, threads_before, before = self._clocks.spent.copy(), thread_seconds(), time.process_time()
        requests = self._load(self._options.seconds)
        total = time.process_time() - before
        parts = {part: seconds - parts_before[part] for part, seconds in self._clocks.spent.items()}
        for kind, seconds in thread_seconds().items():
            rest = seconds - threads_before[kind] - sum(value for part, value in parts.items() if part.startswith(kind))
            parts[kind + REST[kind]] = rest
        parts["decode threads and others"] = total - sum(parts.values())
        return {part: 1e6 * seconds / requests for part, seconds in parts.items()}

    def _load(self, seconds: float) -> int:
        command = [sys.executable, "-m", "bench.serving.generator", "--port", str(self._port), "--path", "/predict"]
        command += ["--body", "raw", "--images", str(self._options.images), "--seconds", str(seconds)]
        command += ["--connections", str(self._options.connections)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        return int(json.loads(done.stdout)["right"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JSON: [[file, expected label], …]")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    settings = Settings(http_port=0, bundles=options.bundle.parent, default_model=options.bundle.name, drain_delay=0.0)
    clocks = Clocks()
    clocks.put_around_parts()
    gateway = create_app(settings)
    with listen(settings) as listener:
        profiler = Profiler(clocks, gateway, listener.getsockname()[1], options)
        server = HttpServer(gateway)
        profiler.start()
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
        profiler.join()
    json.dump(profiler.result, sys.stdout)


if __name__ == "__main__":
    main()
