"""Gathers those who record finished requests: log, capture and telemetry, as far as the settings want them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from service.monitoring.finished_request import BeginTrace, Observer
from service.monitoring.request_log import RequestLog
from service.monitoring.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from service.monitoring.capture.capturing import Capture


class Recorders:
    """Start them with the service, and stop them after its last request."""

    def __init__(self, log: RequestLog | None, capture: Capture | None, telemetry: Telemetry | None) -> None:
        self._log, self._capture, self._telemetry = log, capture, telemetry
        own: tuple[Observer | None, ...] = (log, capture)
        self.observers: tuple[Observer, ...] = (
            *[observer for observer in own if observer is not None],
            *(() if telemetry is None else telemetry.observers),
        )
        self.begin_trace: BeginTrace | None = None if telemetry is None else telemetry.begin_trace

    def start(self, metrics: CollectorRegistry) -> None:
        """Begin to write and to send; the capture counts in `metrics`, which the telemetry sends."""
        if self._capture is not None:
            metrics.register(self._capture)
            self._capture.start()
        if self._telemetry is not None:
            self._telemetry.start(metrics)

    async def stop(self) -> None:
        """Write and send what is left; a few seconds at most."""
        if self._log is not None:
            self._log.close()
        if self._capture is not None:
            await asyncio.to_thread(self._capture.stop)
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.stop)
