"""A thread that sends the metrics at regular intervals, and once more at the end.

The SDK's own reader sends what its instruments have counted. Ours are counted already, in the service's ledger.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.environment_variables import OTEL_METRIC_EXPORT_INTERVAL
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from service.monitoring.telemetry.metrics import metrics_data

USUAL_MILLISECONDS: Final = 60_000.0

log = logging.getLogger("opentelemetry.contraflow")
"""Heard by `Complaints`, like the SDK's."""


class MetricsPusher:
    """Sends the metrics of one registry."""

    def __init__(self, exporters: Sequence[MetricExporter], resource: Resource) -> None:
        self._exporters, self._resource = exporters, resource
        self._began = time.time_ns()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, registry: CollectorRegistry) -> None:
        self._thread = threading.Thread(target=self._push, args=(registry, interval()), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the last state of the metrics was sent, or could not be sent."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _push(self, registry: CollectorRegistry, seconds: float) -> None:
        while not self._ending.wait(seconds):
            self._send(registry)
        self._send(registry)
        for exporter in self._exporters:
            exporter.shutdown()

    def _send(self, registry: CollectorRegistry) -> None:
        try:
            data = metrics_data(registry.collect(), self._resource, self._began, time.time_ns())
            for exporter in self._exporters:
                exporter.export(data)
        except Exception as error:  # the thread goes on: the next state may be sent
            log.warning("the metrics could not be sent: %s", error)


def interval() -> float:
    """Return the seconds between two states, by `OTEL_METRIC_EXPORT_INTERVAL` in milliseconds."""
    given = os.environ.get(OTEL_METRIC_EXPORT_INTERVAL) or USUAL_MILLISECONDS
    try:
        milliseconds = float(given)
    except ValueError:
        milliseconds = 0.0
    if not 0 < milliseconds < threading.TIMEOUT_MAX * 1e3:
        log.warning("%s: %r is no number of milliseconds; 60000 is taken", OTEL_METRIC_EXPORT_INTERVAL, given)
        milliseconds = USUAL_MILLISECONDS
    return milliseconds / 1e3
