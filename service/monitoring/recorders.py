"""Gathers those who record finished requests: log, capture and telemetry, as far as the settings want them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from service.monitoring.finished_request import BeginTrace, Observer
from service.monitoring.request_log import request_log
from service.monitoring.telemetry.telemetry import Telemetry
from service.output.system_errors import error_in_words
from service.settings.fields import Settings
from service.settings.reading import names_of_setting

if TYPE_CHECKING:
    from service.monitoring.capture.capturing import Capture


class Recorders:
    """Start them with the service, and stop them after its last request."""

    def __init__(self, settings: Settings, telemetry: Telemetry | None) -> None:
        """Prepare the log and the capture that the settings want.

        Raises:
            OSError: nothing can be written to the folder `settings.capture`.
        """
        self._log, self._capture, self._telemetry = request_log(settings), _capture(settings), telemetry
        own: tuple[Observer | None, ...] = (self._log, self._capture)
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


def _capture(settings: Settings) -> Capture | None:
    if settings.capture is None:
        return None
    from service.monitoring.capture.capturing import Capture  # only where it is wanted: 5 ms

    try:
        return Capture(
            settings.capture,
            share=settings.capture_share,
            pictures=settings.capture_pictures,
            form=settings.capture_format,
            most_bytes=settings.capture_max_bytes,
        )
    except OSError as error:
        raise OSError(f"{names_of_setting('capture')}: {error_in_words(error)}") from error
