"""The real service on a real socket, in a thread of the test process."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from service.app import create_app
from service.bundles.source import Source
from service.http.calls.service_parts import ServiceParts
from service.http.connection.client_connection import ClientConnection
from service.http.listening.listeners import bound_for_metrics, listen
from service.http.server import HttpServer
from service.settings.fields import Settings

PATIENCE_SECONDS = 60
"""The longest that anything may take, because the machines that run tests are small and busy."""


class LiveServer:
    """A running service: its address to send requests to, and its parts to look at."""

    def __init__(self, server: HttpServer, state: ServiceParts, host: str, port: int, metrics_port: int = 0) -> None:
        self.server = server
        self.state = state
        self.host, self.port = host, port
        self.url = f"http://{host}:{port}"
        self.metrics_port = metrics_port
        """The port that is for metrics alone; 0 if there is none."""

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, **options)

    def connect(self) -> socket.socket:
        """Return a new connection, for requests that no client library would send."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE_SECONDS)

    def connection_from(self, port: int) -> ClientConnection | None:
        """Return the server's side of the connection whose client has this port, if the server knows of it."""
        found = (one for one in self.connections() if one.client is not None and one.client[1] == port)
        return next(found, None)

    def connections(self) -> list[ClientConnection]:
        """Return the server's side of every connection."""
        every = tuple(self.server.server_state.connections)
        return [connection for connection in every if isinstance(connection, ClientConnection)]


@contextmanager
def running(
    bundles: Path, *, loaded: bool = True, sources: Sequence[Source] | None = None, **settings: Any
) -> Iterator[LiveServer]:
    """Run a server over the folder `bundles`, or over `sources`, and end it afterwards.

    Unless `loaded` is false, every forward graph is ready or has failed when the context begins.
    """
    chosen = Settings(bundles=(bundles,), http_port=0, **{"bundle_poll_seconds": 0, "run_threads": 1, **settings})
    gateway = create_app(chosen, sources=sources)
    state = gateway.service
    listeners, metrics_listeners = listen(chosen), bound_for_metrics(chosen)
    metrics_listeners.begin()
    first = listeners.sockets[0].getsockname()
    host, port = first[:2] if isinstance(first, tuple) else (first, 0)
    server = HttpServer(gateway, metrics_listeners.sockets)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=listeners.sockets)))
    thread.start()
    try:
        if loaded:
            assert state.loader.started.wait(180)  # seconds on a machine at rest, minutes on one that runs much else
        wait_until(lambda: server.started)
        metrics_port = metrics_listeners.sockets[0].getsockname()[1] if metrics_listeners.sockets else 0
        yield LiveServer(server, state, host, port, metrics_port)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        listeners.close()
        metrics_listeners.close()
        assert not thread.is_alive()


def wait_until(condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again until `condition()` holds, and fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


class Gate(logging.Handler):
    """A log handler at which the thread that logs certain words waits until it is released."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self._released = threading.Event()
        self.reached = threading.Event()

    def handle(self, record: logging.LogRecord) -> bool:
        """Wait here and not in `emit`, around which the handler is locked: other threads would wait too."""
        if self._words in record.getMessage() and not self._released.is_set():
            self.reached.set()
            self._released.wait(PATIENCE_SECONDS)
        return True

    def let_go(self) -> None:
        self._released.set()


@contextmanager
def held_at(words: str) -> Iterator[Gate]:
    """Hold the loader where it logs `words`, until it is released or the context ends."""
    gate, log = Gate(words), logging.getLogger("contraflow.bundles")
    level = log.level
    log.addHandler(gate)
    log.setLevel(logging.INFO)
    try:
        yield gate
    finally:
        gate.let_go()
        log.removeHandler(gate)
        log.setLevel(level)


@contextmanager
def held_start(bundles: Path, words: str, **settings: Any) -> Iterator[tuple[LiveServer, Gate]]:
    """Run a server whose loader is held where it logs `words` at the start."""
    with held_at(words) as gate, running(bundles, loaded=False, **settings) as server:
        try:
            assert gate.reached.wait(PATIENCE_SECONDS)
            yield server, gate
        finally:
            gate.let_go()


def picture(colour: Any = "red", size: tuple[int, int] = (8, 8), kind: str = "PNG", **options: Any) -> bytes:
    """An image file of one colour."""
    buffer = io.BytesIO()
    mode = options.pop("mode", "RGB")
    Image.new(mode, size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def is_ready(url: str) -> bool:
    """Return whether the service at this address takes connections, and all its models are ready."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=PATIENCE_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def best_label(answer: httpx.Response, index: int = 0) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["predictions"][index]["labels"][0]["label"])
