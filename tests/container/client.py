"""Requests to a service in a container, each on a connection of its own."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

MODEL = "resnet20"
PREDICT = f"/predict?model={MODEL}"
GRADIENTS = f"/diagnostics/gradients?model={MODEL}"
NO_CONNECTION = 0


@dataclass(frozen=True)
class Response:
    """`status` is NO_CONNECTION where the connection was refused or broke; `sent_at` is in monotonic seconds."""

    sent_at: float
    status: int
    body: bytes
    retry_after: str | None = None

    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: bytes | None = None, timeout: float = 60) -> Response:
    sent_at = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Response(sent_at, response.status, response.read(), response.getheader("Retry-After"))
    except (OSError, http.client.HTTPException) as error:
        return Response(sent_at, NO_CONNECTION, str(error).encode())
    finally:
        connection.close()


def ask_until_loaded(port: int, path: str, body: bytes, seconds: float = 60) -> Response:
    """Ask again while the answer is 503: gradient graphs are loaded after the service is ready."""
    until = time.monotonic() + seconds
    while (response := ask(port, "POST", path, body)).status == 503 and time.monotonic() < until:
        time.sleep(0.2)
    return response


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60, pause: float = 0.5) -> None:
    """Look again and again until `condition` holds.

    Raises:
        TimeoutError: it still does not hold after `seconds`.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not so after {seconds:.0f} s")
        time.sleep(pause)


def wait_until_ready(port: int) -> float:
    """Return the seconds until /health/ready answered 200.

    Raises:
        TimeoutError: it did not within a minute.
    """
    started = time.monotonic()
    wait_until(lambda: ask(port, "GET", "/health/ready", timeout=2).status == 200, "ready", pause=0.02)
    return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextmanager
def closed_loop(port: int, clients: int, bodies: Sequence[bytes]) -> Iterator[list[Response]]:
    """Let `clients` ask for predictions, each with one of `bodies`, each again as soon as it is answered.

    The list grows meanwhile and is complete when the context has ended.
    """
    responses: list[Response] = []
    over = threading.Event()

    def client(body: bytes) -> None:
        while not over.is_set():
            response = ask(port, "POST", PREDICT, body)
            responses.append(response)
            if response.status == NO_CONNECTION:
                time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(body,), daemon=True) for body in islice(cycle(bodies), clients)]
    for thread in threads:
        thread.start()
    try:
        yield responses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def status_counts(responses: Sequence[Response]) -> str:
    """Return how often each status came, e.g. "144 × 200, 3 × 503"."""
    counts = Counter(response.status for response in responses)
    return ", ".join(f"{count} × {status}" for status, count in sorted(counts.items())) or "none"
