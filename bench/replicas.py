"""Real replicas behind a real nginx on this machine, and a load generator for them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 32m;
    client_body_buffer_size 1m;
    upstream replicas {{
        random;
        keepalive 64;
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # A prediction has no effect but its answer, so it may be asked for again elsewhere.
            proxy_next_upstream error timeout http_503 non_idempotent;
            proxy_connect_timeout 1s;
        }}
    }}
}}
"""


@dataclass
class Replica:
    process: subprocess.Popen[bytes]
    port: int

    def processor_seconds(self) -> float:
        return processor_seconds(self.process.pid)


def processor_seconds(process: int) -> float:
    """User and system time of a process and its children so far."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextmanager
def replicas(count: int, bundles: Path, *flags: str) -> Iterator[list[Replica]]:
    """Ready replicas of the service, all graphs loaded; killed in the end."""
    started: list[Replica] = []
    with ExitStack() as stack:
        for _ in range(count):
            port = free_port()
            command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles), *flags]
            environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "ORT_DISABLE_TELEMETRY": "1"}
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(Replica(process, port))
        for replica in started:
            wait_until_ready(replica.port)
        yield started


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[Replica]:
    """nginx in front of `ports`, each request to one of them at random."""
    port = free_port()
    servers = "\n".join(f"        server 127.0.0.1:{number} max_fails=1 fail_timeout=2s;" for number in ports)
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, servers=servers), encoding="utf-8")
    process = subprocess.Popen(
        ["nginx", "-c", str(configuration), "-p", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_ready(port)
        yield Replica(process, port)
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(port: int, seconds: float = 60) -> None:
    """Until /health/ready answers 200.

    Raises:
        TimeoutError: it did not.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if asyncio.run(_once(port, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"port {port} is not ready after {seconds:.0f} s")


@dataclass(frozen=True)
class Answer:
    """`began` and `seconds` by the client's clock, `stages` in seconds by Server-Timing; status 0: it broke."""

    status: int
    began: float
    seconds: float
    stages: dict[str, float]


BROKEN = (OSError, asyncio.IncompleteReadError, ValueError)


def prediction(body: bytes, model: str) -> bytes:
    """One POST /predict as it goes over the wire."""
    head = f"POST /predict?model={model} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection:
    """One kept connection; opened at need, again after it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        began = time.monotonic()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length.group(1)) if length else 0)
        except BROKEN:
            self.close()
            return Answer(0, began, time.monotonic() - began, {})
        if "connection: close" in head:
            self.close()
        stages = {name: float(value) / 1e3 for name, value in re.findall(r"(\w+);dur=([\d.]+)", head)}
        return Answer(int(head[9:12]), began, time.monotonic() - began, stages)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _once(port: int, request: bytes) -> Answer:
    connection = Connection(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


async def closed_loop(port: int, request: bytes, clients: int, seconds: float, pause: float = 0.0) -> list[Answer]:
    """Each client asks again `pause` seconds after it is answered."""
    answers: list[Answer] = []
    until = time.monotonic() + seconds

    async def client() -> None:
        connection = Connection(port)
        while time.monotonic() < until:
            answers.append(await connection.ask(request))
            if pause:
                await asyncio.sleep(pause)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def open_loop(port: int, request: bytes, rate: float, seconds: float, seed: int = 0) -> list[Answer]:
    """Requests come by a Poisson process, whether or not the last ones were answered."""
    answers: list[Answer] = []
    idle: list[Connection] = []
    tasks = set()

    async def one() -> None:
        connection = idle.pop() if idle else Connection(port)
        answers.append(await connection.ask(request))
        idle.append(connection)

    start = time.monotonic()
    for when in _arrivals(rate, seconds, seed):
        delay = start + when - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return answers


def _arrivals(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * rate * seconds) + 100)
    times = np.cumsum(gaps)
    return times[times < seconds]
