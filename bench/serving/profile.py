"""CPU time of one `/predict` by part: the service in this process, under load, with clocks around its parts.

Threads and parts are measured by the thread's own CPU clock, so that other work on the machine hardly counts;
reading that clock costs some of what is measured.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.harness.apart import call_apart
from bench.serving.generator import load_with_images
from service.app import create_app
from service.contract.runtime.session import Session
from service.engine import execution
from service.engine.engine import Engine
from service.engine.ledger import Ledger
from service.http.calls.gateway import Gateway
from service.http.connection.client_connection import ClientConnection
from service.http.connection.cycle import Cycle
from service.http.listening.listeners import listen
from service.http.routes.predict import AnswerWriter
from service.http.server import HttpServer
from service.settings.fields import Settings

RUN_SLOTS = "run slots: "
EVENT_LOOP = "event loop: "
REST = {
    RUN_SLOTS: "softmax, ranking, sharing out, queue, waking the event loop",
    EVENT_LOOP: "handing over, reading from sockets",
}
"""Time of a thread between the parts."""
PARTS: dict[Callable[..., Any], str] = {
    ClientConnection.data_received: EVENT_LOOP + "HTTP parsing (uvicorn, httptools)",
    Gateway.begin: EVENT_LOOP + "id, key, deadline, model",
    Engine.submit: EVENT_LOOP + "into the queue",
    execution._pixels_or_tensor: RUN_SLOTS + "decoding (libjpeg-turbo)",
    execution._tensor: RUN_SLOTS + "normalisation",
    Session.run: RUN_SLOTS + "ONNX Runtime",
    AnswerWriter.write: EVENT_LOOP + "answer as JSON",
    Cycle.write: EVENT_LOOP + "writing to the socket",
    Ledger.request_finished: EVENT_LOOP + "metrics",
}
"""The service's function that does each part; parts within it count for themselves."""


class Clocks:
    """CPU seconds by part, without those of the parts within it."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PARTS.values(), 0.0)
        self._within = Within()

    def put_around_parts(self) -> None:
        """Replace the functions that do each part by the same with a clock around."""
        for function, part in PARTS.items():
            *owners, name = function.__qualname__.split(".")
            owner = functools.reduce(getattr, owners, sys.modules[function.__module__])
            setattr(owner, name, self._around(part, function))

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
    total = defaultdict(float, {EVENT_LOOP: seconds_of(threading.main_thread())})
    for thread in threading.enumerate():
        if thread.name.startswith("run-"):
            total[RUN_SLOTS] += seconds_of(thread)
    return total


def seconds_of(thread: threading.Thread) -> float:
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def profile(bundle: str, images: str, connections: int, seconds: float) -> dict[str, float]:
    """Return microseconds of CPU per request by part. It serves `bundle` in this process, and alters the service."""
    folder = Path(bundle)
    settings = Settings(http_port=0, bundles=(folder.parent,), default_model=folder.name, drain_delay=0.0)
    clocks = Clocks()
    clocks.put_around_parts()
    gateway = create_app(settings)

    with listen(settings) as listeners, ThreadPoolExecutor(1) as beside:
        port = listeners.sockets[0].getsockname()[1]
        load = functools.partial(call_apart, load_with_images, port, "/predict", "raw", images, connections)

        def measure() -> dict[str, float]:
            try:
                gateway.service.loader.started.wait()
                load(min(1.0, seconds))
                return by_part(clocks, lambda: load(seconds)["right"])
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        server = HttpServer(gateway)
        measured = beside.submit(measure)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=listeners.sockets))
        return measured.result()


def by_part(clocks: Clocks, load: Callable[[], float]) -> dict[str, float]:
    """Return microseconds by part of each request that `load` makes; it returns their number."""
    parts_before, threads_before, before = clocks.spent.copy(), thread_seconds(), time.process_time()
    requests = load()
    total = time.process_time() - before
    parts = {part: seconds - parts_before[part] for part, seconds in clocks.spent.items()}
    for kind, seconds in thread_seconds().items():
        within_parts = sum(value for part, value in parts.items() if part.startswith(kind))
        parts[kind + REST[kind]] = seconds - threads_before[kind] - within_parts
    parts["decode threads and others"] = total - sum(parts.values())
    return {part: 1e6 * seconds / requests for part, seconds in parts.items()}
