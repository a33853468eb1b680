"""HTTP as bytes, for requests that no client library would send."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.service.live_server import LiveServer, wait_until

CLOSE = "Connection: close"


@dataclass(frozen=True)
class RawAnswer:
    """One answer; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def post(body: bytes, *headers: str, path: str = "/predict", version: str = "1.1") -> bytes:
    """Return a POST with its Content-Length."""
    return head("POST " + path, f"Content-Length: {len(body)}", *headers, version=version) + body


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return head("GET " + path, *headers, version=version)


def head(line: str, *headers: str, version: str = "1.1", host: str = "Host: localhost") -> bytes:
    return "\r\n".join([f"{line} HTTP/{version}", host, *headers, "", ""]).encode()


def chunked(body: bytes, size: int = 50) -> bytes:
    """Return a body in chunks, with its last chunk."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def talk(server: LiveServer, messages: Iterable[bytes], *, shut: bool = False) -> list[RawAnswer]:
    """Send `messages` one by one, then read answers, and nothing else, to the end of the connection."""
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # refused before it was all sent
            for message in messages:
                connection.sendall(message)
            if shut:
                connection.shutdown(socket.SHUT_WR)
        return read_answers(connection)


def read_answers(connection: socket.socket) -> list[RawAnswer]:
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(2**16):
            received += data
    return parse(received)


def read_one(connection: socket.socket) -> RawAnswer:
    """Read the next answer of a server that sends nothing unasked."""
    received = connection.recv(2**16)
    while b"\r\n\r\n" not in received or not _is_whole(received):
        data = connection.recv(2**16)
        assert data, f"the connection ended within an answer: {received[:200]!r}"
        received += data
    (answer,) = parse(received)
    return answer


def _is_whole(received: bytes) -> bool:
    start, _, rest = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", start)
    return length is not None and len(rest) >= int(length[1])


def parse(received: bytes) -> list[RawAnswer]:
    """Return all final answers in `received`, and fail if anything else is there."""
    answers: list[RawAnswer] = []
    while received:
        start, separator, rest = received.partition(b"\r\n\r\n")
        assert separator, f"no answer: {received[:200]!r}"
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [^\r\n]*", start.partition(b"\r\n")[0])
        assert match, f"no answer: {received[:200]!r}"
        status = int(match[1])
        fields = [line.split(": ", 1) for line in start.decode("latin-1").split("\r\n")[1:]]
        assert len({name.lower() for name, _ in fields}) == len(fields), "a header twice"
        headers = {name.lower(): value for name, value in fields}
        length = 0 if status < 200 else int(headers["content-length"])
        assert len(rest) >= length, "an answer that was cut off"
        if status >= 200:
            answers.append(RawAnswer(status, headers, rest[:length]))
        received = rest[length:]
    return answers


@contextmanager
def small_buffers(server: LiveServer) -> Iterator[tuple[socket.socket, Any]]:
    """A connection with small socket buffers, and the server's side of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((server.host, server.port))
        port = connection.getsockname()[1]
        wait_until(lambda: server.connection_from(port) is not None)
        protocol = server.connection_from(port)
        assert protocol is not None
        protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield connection, protocol
