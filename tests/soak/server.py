"""The service under the soak, and its readings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.harness.readings import REQUESTS, Metrics, get
from bench.harness.server import Server, service

FLAGS = (
    *("--bundle-poll-seconds", "0.25"),
    *("--request-timeout", "5"),
    *("--deadline-ms", "300000"),  # the deadline must not be what fails on a busy machine
    *("--log-format", "json"),
)
START_SECONDS = 600.0
SETTLING_SECONDS = 60.0
"""A descriptor that is still open this long after the last request is leaked."""

EXPECTED_IN_LOG = (
    "failed on one request",
    "service.errors.RunFailed",
    "Non-zero status code returned while running Gather",
    "bundle swapped is refused",
)
"""Words of the errors that the soak brings about: failing runs (the third is ONNX Runtime's own), broken bundles."""


class ServerUnderTest:
    """A running service, and what the soak asks it beside its requests."""

    def __init__(self, server: Server) -> None:
        self.port = server.port
        self._server = server

    def models(self) -> dict[str, Any]:
        """Return the document of `GET /models`."""
        document: dict[str, Any] = get(self.port, "/models")
        return document

    def megabytes(self) -> float:
        """Return the resident memory."""
        return self._server.resident_bytes() / 1e6

    def descriptors(self, at_most: int | None = None) -> int:
        """Return how many descriptors are open without connections, as soon as they are no more than `at_most`.

        At any one instant a connection may still be closing or a bundle be loading. What is leaked never
        closes, so that the number at the end of `SETTLING_SECONDS` is then above `at_most`.
        """
        process = self._server.root
        end = time.monotonic() + SETTLING_SECONDS
        while True:
            connected = any(each.status != psutil.CONN_LISTEN for each in process.net_connections())
            number = int(process.num_fds())
            if (not connected and (at_most is None or number <= at_most)) or time.monotonic() > end:
                return number
            time.sleep(0.05)

    def outcomes(self) -> Counter[str]:
        """Return the service's own counts, by outcome, of requests to the routes that the soak asks."""
        counts: Counter[str] = Counter()
        for sample in Metrics(self.port).samples(REQUESTS):
            if sample.labels["route"] == "/predict" or sample.labels["route"].startswith(("/diagnostics/", "/v2/")):
                counts[sample.labels["outcome"]] += round(sample.value)
        return counts

    def images_per_run(self, model: str) -> float:
        """Return the mean batch of a model's forward graph."""
        metrics = Metrics(self.port)
        images, runs = (
            metrics.total(f"contraflow_batch_size_{part}", model=model, graph="forward") for part in ("sum", "count")
        )
        return images / max(1.0, runs)

    def unexpected_log_lines(self) -> list[str]:
        """Return the lines of the log that the soak did not bring about."""
        lines = self._server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if not any(words in line for words in EXPECTED_IN_LOG)]


@contextmanager
def serving(bundles: Path, warm_up: bool = True) -> Iterator[ServerUnderTest]:
    """Serve `bundles`, from when every model is ready."""
    with service(bundles, *FLAGS, "--warm-up", str(warm_up), seconds=START_SECONDS) as server:
        yield ServerUnderTest(server)
