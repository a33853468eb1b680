"""A closed-loop load generator: each connection sends its next request when its last is answered.

Runs in a process of its own, so that the server's CPU time is the server's alone. Answers are checked.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Result:
    """Of one run: latencies in milliseconds."""

    requests: int
    wrong: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends `requests` in turn until `end`."""

    def __init__(self, requests: list[bytes], check: Callable[[int, bytes], bool], end: float, offset: int) -> None:
        self._requests, self._check, self._end = requests, check, end
        self._next = offset
        self._buffer = bytearray()
        self._needed: int | None = None
        self.latencies: list[float] = []
        self.wrong = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._needed is None:
            self._read_head()
        if self._needed is not None and len(self._buffer) >= self._needed:
            self._answered(bytes(self._buffer[self._head : self._needed]))

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        self._status = int(head[9:12])
        self._head = end + 4
        start = head.find(b"content-length:")
        if start >= 0:
            self._needed = self._head + int(head[start + 15 :].split(b"\r\n", 1)[0])
        elif self._buffer.endswith(b"\r\n0\r\n\r\n"):  # chunked: one answer at a time, so its end is the buffer's
            self._needed = len(self._buffer)

    def _answered(self, body: bytes) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        if self._status != 200 or not self._check(self._next % len(self._requests), body):
            self.wrong += 1
        del self._buffer[: self._needed]
        self._needed = None
        self._next += 1
        if now < self._end:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.wrong += 1
            self.done.set_result(None)


async def closed_loop(
    host: str,
    port: int,
    requests: list[bytes],
    check: Callable[[int, bytes], bool],
    connections: int,
    seconds: float,
) -> Result:
    """Load the server with `connections` clients for `seconds`."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for number in range(connections):
        _, client = await loop.create_connection(
            lambda offset=number * 7: Connection(requests, check, began + seconds, offset), host, port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    elapsed = time.perf_counter() - began
    latencies = np.concatenate([client.latencies for client in clients]) * 1e3
    p50, p99 = np.percentile(latencies, [50, 99])
    return Result(len(latencies), sum(client.wrong for client in clients), elapsed, float(p50), float(p99))


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
    # The label that the server ranks first is the first label in the answer, in every server here.
    labels = [f'"{label}'.encode() for _, label in images]
    names = sorted(set(labels))

    def check(number: int, body: bytes) -> bool:
        positions = {name: body.find(name) for name in names}
        found = [name for name, position in positions.items() if position >= 0]
        return bool(found) and min(found, key=lambda name: positions[name]) == labels[number]

    result = asyncio.run(closed_loop("127.0.0.1", options.port, requests, check, options.connections, options.seconds))
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
