"""The service's own process: started, watched from outside, ended."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]

OPTIONS = {  # the deadline must not be what fails on a busy machine
    "bundle-poll-seconds": "0.25",
    "request-timeout": "5",
    "deadline-ms": "300000",
    "drain-delay": "0",
    "log-level": "error",
    "log-format": "json",
}

START_SECONDS = 600.0
SETTLING_SECONDS = 60.0
"""Descriptors that are still open this long after the last request are leaked."""

EXPECTED_IN_LOG = (
    "failed on one request",
    "service.errors.RunFailed",
    "Non-zero status code returned while running Gather",
    "bundle swapped is refused",
)
"""Of the error lines that the soak brings about: failing runs (the last of them ONNX Runtime's own), broken bundles."""


class ServerUnderTest:
    """`python -m service` in a process of its own."""

    def __init__(self, process: psutil.Process, port: int, log: Path) -> None:
        self.port = port
        self._process = process
        self._log = log
        self._url = f"http://127.0.0.1:{port}"

    def models(self) -> dict[str, Any]:
        """`GET /models`."""
        answer: dict[str, Any] = httpx.get(self._url + "/models", timeout=30).json()
        return answer

    def megabytes(self) -> float:
        """Resident memory."""
        return float(self._process.memory_info().rss) / 1e6

    def descriptors(self, at_most: int | None = None) -> int:
        """Open descriptors without connections, as soon as there are no more than `at_most`.

        At any one instant a connection may still be closing or a bundle be loading; what is leaked
        never closes, so that the number at the end of the time is then above `at_most`.
        """
        end = time.monotonic() + SETTLING_SECONDS
        while True:
            connected = any(each.status != psutil.CONN_LISTEN for each in self._process.net_connections())
            number = int(self._process.num_fds())
            if (not connected and (at_most is None or number <= at_most)) or time.monotonic() > end:
                return number
            time.sleep(0.05)

    def outcomes(self) -> Counter[str]:
        """The service's own counts of the requests that the soak sends, by outcome."""
        counts: Counter[str] = Counter()
        for fields, value in self._metric("contraflow_requests_total"):
            if fields["route"] == "/predict" or fields["route"].startswith(("/diagnostics/", "/v2/")):
                counts[fields["outcome"]] += round(value)
        return counts

    def images_per_run(self, model: str) -> float:
        """Of the model's forward graph, on average."""
        total = dict.fromkeys(("sum", "count"), 0.0)
        for part in total:
            for fields, value in self._metric("contraflow_batch_size_" + part):
                if (fields["model"], fields["graph"]) == (model, "forward"):
                    total[part] += value
        return total["sum"] / max(1.0, total["count"])

    def unexpected_log_lines(self) -> list[str]:
        """What it logged that the soak did not bring about."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if not any(words in line for words in EXPECTED_IN_LOG)]

    def _metric(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of every series of one metric."""
        text = httpx.get(self._url + "/metrics", timeout=30).text
        for labels, value in re.findall(rf"^{name}\{{(.*?)\}} (\S+)", text, re.MULTILINE):
            yield dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)


@contextmanager
def serving(bundles: Path, temporary: Path, warm_up: bool = True) -> Iterator[ServerUnderTest]:
    """The service over `bundles`, once every model is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = {**OPTIONS, "warm-up": str(warm_up)}
    options = [word for name, value in chosen.items() for word in ("--" + name, value)]
    command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles), *options]
    log = temporary / "service.log"
    with log.open("w") as output, subprocess.Popen(command, cwd=ROOT, stderr=output) as process:
        try:
            server = ServerUnderTest(psutil.Process(process.pid), port, log)
            _wait_until_ready(server, process, models=sum(1 for path in bundles.iterdir() if path.is_dir()))
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(server: ServerUnderTest, process: subprocess.Popen[bytes], models: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError, json.JSONDecodeError):
            if sum(model["ready"] for model in server.models()["models"]) == models:
                return
        time.sleep(0.1)
    raise TimeoutError(f"the service ended, or was not ready within {START_SECONDS:.0f} s")
