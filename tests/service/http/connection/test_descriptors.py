"""Connections and the limit of descriptors: some are always left over for the service's own files."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from service.machine.descriptors import UNLIMITED, backlog, most_connections
from tests.service.live_server import PATIENCE_SECONDS, best_label, picture, wait_until
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
RED = picture("red")


@pytest.mark.parametrize(
    ("wanted", "descriptors", "connections", "waiting"),
    [(4096, 1024, 768, 128), (4096, 20_000, 4096, 2048), (100, 1024, 100, 462), (4096, 256, 192, 32), (4096, 4, 3, 1)],
)
def test_connections_leave_descriptors_over_even_if_all_that_wait_are_accepted_at_once(
    wanted: int, descriptors: int, connections: int, waiting: int
) -> None:
    assert most_connections(wanted, descriptors) == connections
    assert backlog(connections, descriptors) == waiting
    assert connections + waiting < descriptors or descriptors == 4
    assert most_connections(4096, UNLIMITED) == 4096


@contextmanager
def service(bundles: Path, soft: int, hard: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The service in a process of its own with a limit of descriptors, ready, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles)]
    options = ["--bundle-poll-seconds", "0.05", "--drain-delay", "0", "--shutdown-grace", "1"]
    with subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    ) as process:
        try:
            wait_until(lambda: _status(port, "/health/ready") == 200)
            yield process, port
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _status(port: int, path: str) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS).status_code
    except httpx.TransportError:
        return 0


def check_serves(port: int, polls: int = 5) -> None:
    """Over several looks at the folder, with fresh connections."""
    for _ in range(polls):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            assert client.get("/health/live").status_code == 200
            assert best_label(client.post("/predict", content=RED)) == "red"
            assert [model["name"] for model in client.get("/models").json()["models"]] == ["tiny"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads limits of processes as Linux shows them")
def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 256, 2048) as (process, port):
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (2048, 2048)
        assert (
            "contraflow_connections_limit 1536.0"
            in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS).text
        )
        process.terminate()
        assert process.stderr is not None
        assert b"connections: 1536 at most" in process.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux shows them")
def test_more_idle_connections_than_descriptors_lock_nobody_out_and_no_model_goes(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 128, 256) as (process, port), ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)))
        check_serves(port)
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < 256
        write_bundle(tmp_path, "other")
        wait_until(lambda: _status(port, "/models/other") == 200)


@pytest.mark.skipif(sys.platform != "linux", reason="changes the limit of a running process")
def test_when_there_are_no_descriptors_at_all_the_service_goes_on_once_there_are(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 256, 256) as (process, port):
        used = len(os.listdir(f"/proc/{process.pid}/fd"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 3, 256))
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)))
        wait_until(lambda: _status(port, "/health/live") == 200)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (256, 256))
        wait_until(lambda: _status(port, "/health/ready") == 200)
        assert (
            best_label(httpx.post(f"http://127.0.0.1:{port}/predict", content=RED, timeout=PATIENCE_SECONDS)) == "red"
        )
