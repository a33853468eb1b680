"""An attack as it goes over the wire, and how it is made."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

CLOSE = "Connection: close"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """The service's limits, so that an attack can be just over one, and its models."""

    model: str
    side: int
    """Width and height of the model's input, in pixels."""
    labels: tuple[str, ...]
    body: int = 2**24
    head: int = 2**15
    images: int = 64
    pixels: int = 25_000_000
    depth: int = 16
    resizing: str = "resizing"
    """A model whose pictures are resized to 256 pixels on the shorter side, and cropped."""


@dataclass(frozen=True)
class Attack:
    """`messages` are sent one after the other on one connection; the first answer has one of `statuses`.

    `decodes` says that a picture within the limits is decoded, which may cost 16 bytes per pixel.
    """

    name: str
    statuses: tuple[int, ...]
    messages: Callable[[Target], Iterable[bytes]]
    decodes: bool = False


def raw(*messages: bytes) -> Callable[[Target], Iterable[bytes]]:
    """An attack of these bytes, whatever the target's limits are."""
    return lambda target: messages


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """A POST with the body's length."""
    return head(path, *headers, f"Content-Length: {len(body)}") + body


def head(path: str = "/predict", *headers: str) -> bytes:
    """The head of a POST, whole."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers]).encode() + b"\r\n\r\n"


def predict(body: bytes, *headers: str, query: str = "") -> Callable[[Target], Iterable[bytes]]:
    """One request to /predict."""
    return lambda target: [post(f"/predict{query}", body, *headers)]


def answer_to(attack: Attack, target: Target, host: str, port: int, timeout: float = 60.0) -> bytes:
    """Send an attack and return the first answer, or as much of it as came before the connection ended."""
    messages = list(attack.messages(target))  # made before the service's clock for a request begins
    with socket.create_connection((host, port), timeout=timeout) as connection:
        for message in messages:
            try:
                connection.sendall(message)
            except OSError:  # refused before it was all sent
                break
        return _first_answer(connection)


def _first_answer(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(2**20):
            received += data
            end = received.find(b"\r\n\r\n")
            length = LENGTH.search(received[: end + 2]) if end >= 0 else None
            whole = end + 4 + (int(length[1]) if length else 0)
            if end >= 0 and len(received) >= whole:
                return received[:whole]
    return received


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 where there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
