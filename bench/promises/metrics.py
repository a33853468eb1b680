"""What a running service says about itself, read over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """One reading of /metrics."""

    def __init__(self, port: int) -> None:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a sample over all labels but those given."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> dict[str, str]:
        """Of the first sample of that name."""
        return next((sample.labels for sample in self._samples if sample.name == name), {})


def get(port: int, path: str) -> Any:
    """A JSON document of the service."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30).json()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Looks again and again.

    Raises:
        TimeoutError: it never came about.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it never came about")
        time.sleep(0.01)


def all_ready(port: int) -> bool:
    """Whether every model predicts, not just the default one."""
    return all(model["ready"] for model in get(port, "/models")["models"])
