"""A closed-loop load generator: each connection sends its next request when its last is answered.

Runs in a process of its own, so that the server's CPU time is the server's alone; it shares the cores,
so it does as little as it can: one loop over `epoll`, requests made beforehand. Every answer is checked.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

PATIENCE = 60.0
"""Seconds without any answer after which the server is given up."""

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Result:
    """Of one run: latencies of right answers in milliseconds, the generator's own CPU time in µs per request."""

    right: int
    wrong: int
    """Answers that are not the right one, connections that ended, requests that were not answered."""
    seconds: float
    p50: float
    p99: float
    own_cpu: float


class Connection:
    """One keep-alive connection and the answer that is arriving on it."""

    def __init__(self, host: str, port: int, number: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self.number = number
        """Of the request on the way."""
        self._received = b""

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body once the answer is whole; None before.

        Raises:
            ConnectionError: the server ended the connection.
        """
        data = self.socket.recv(2**18)
        if not data:
            raise ConnectionError
        received = self._received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        length = CONTENT_LENGTH.search(received, 0, end)
        # Chunked: one answer at a time, so that its end is the end of what was received.
        whole = len(received) >= end + int(length[1]) if length else received.endswith(b"\r\n0\r\n\r\n")
        if not whole:
            return None
        self._received = b""
        return int(received[9:12]), received[end:]


def closed_loop(
    host: str, port: int, requests: Sequence[bytes], check: Callable[[int, bytes], bool], connections: int,
    seconds: float,
) -> Result:  # fmt: skip
    """Load the server with `connections` clients for `seconds`; `check` judges an answer by its request's number."""
    clients = {}
    poll = select.epoll()
    for number in range(connections):
        client = Connection(host, port, number * 7 % len(requests))
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    latencies: list[float] = []
    wrong = 0
    busy = len(clients)
    began, own = time.perf_counter(), time.process_time()
    for client in clients.values():
        client.send(requests[client.number])
    while busy:
        events = poll.poll(PATIENCE)
        if not events:
            wrong += busy
            break
        for descriptor, _ in events:
            client = clients[descriptor]
            try:
                answer = client.receive()
            except ConnectionError:
                wrong += 1
                busy -= 1
                poll.unregister(descriptor)
                continue
            if answer is None:
                continue
            now = time.perf_counter()
            status, body = answer
            if status == 200 and check(client.number, body):
                latencies.append(now - client.sent)
            else:
                wrong += 1
            if now - began < seconds:
                client.number = (client.number + 1) % len(requests)
                client.send(requests[client.number])
            else:
                busy -= 1
    poll.close()
    for client in clients.values():
        client.socket.close()
    elapsed, own = time.perf_counter() - began, time.process_time() - own
    p50, p99 = np.percentile(np.array(latencies or [np.nan]) * 1e3, [50, 99])
    return Result(len(latencies), wrong, elapsed, float(p50), float(p99), 1e6 * own / max(1, len(latencies) + wrong))


def request(host: str, port: int, path: str, body: bytes, content_type: str) -> bytes:
    """A POST in bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


BODIES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "raw": ("application/octet-stream", lambda image: image),
    "json": ("application/json", lambda image: json.dumps({"image": base64.b64encode(image).decode()}).encode()),
    "json list": (
        "application/json",
        lambda image: json.dumps({"image": [base64.b64encode(image).decode()]}).encode(),
    ),
    "v2": (
        "application/json",
        lambda image: json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "shape": [1],
                        "datatype": "BYTES",
                        "parameters": {"content_type": "base64"},
                        "data": [base64.b64encode(image).decode()],
                    }
                ]
            }
        ).encode(),
    ),
}
"""How each kind of server takes an image."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", choices=BODIES, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JSON: [[file, expected label], …]")
    options = parser.parse_args()
    images: list[tuple[str, str]] = json.loads(options.images.read_text())
    content_type, encode = BODIES[options.body]
    requests = [
        request("127.0.0.1", options.port, options.path, encode(Path(file).read_bytes()), content_type)
        for file, _ in images
    ]
    check = first_label_is([label for _, label in images])
    result = closed_loop("127.0.0.1", options.port, requests, check, options.connections, options.seconds)
    json.dump(asdict(result), sys.stdout)


def first_label_is(labels: Sequence[str]) -> Callable[[int, bytes], bool]:
    """Checks that of all `labels` the one of the request comes first: every server here ranks its best label first."""
    any_label = re.compile(b'"(' + b"|".join(re.escape(label.encode()) for label in sorted(set(labels))) + b')"')
    wanted = [label.encode() for label in labels]

    def check(number: int, body: bytes) -> bool:
        found = any_label.search(body)
        return found is not None and found[1] == wanted[number]

    return check


if __name__ == "__main__":
    main()
