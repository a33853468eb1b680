"""Readings of a running service over HTTP: its metrics and its documents."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

REQUESTS = "contraflow_requests_total"
IMAGES_RUN = "contraflow_images_total"
RUNS_IN_PROGRESS = "contraflow_runs_in_progress"


class Metrics:
    """One reading of /metrics."""

    def __init__(self, port: int) -> None:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """Return the samples of that name with those labels."""
        return [each for each in self._samples if each.name == name and labels.items() <= each.labels.items()]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all labels but those given."""
        return float(sum(sample.value for sample in self.samples(name, **labels)))

    def grown_since(self, before: Metrics, name: str, **labels: str) -> float:
        """Return by how much a total has grown since an earlier reading."""
        return self.total(name, **labels) - before.total(name, **labels)


def get(port: int, path: str) -> Any:
    """Return a JSON document of the service."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30).json()


def says_ready(port: int) -> bool:
    """Return whether /health/ready answers 200."""
    return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200


def every_model_ready(port: int) -> bool:
    """Return whether every model predicts, not the default one alone."""
    return says_ready(port) and all(model["ready"] for model in get(port, "/models")["models"])


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the condition did not hold within {seconds:.0f} s")
        time.sleep(0.01)
