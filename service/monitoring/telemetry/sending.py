"""The official SDK's exporters, made as the variables say, and ended."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Final

from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from service import __version__
from service.monitoring.telemetry.complaints import listen_to
from service.monitoring.telemetry.pushing import MetricsPusher
from service.monitoring.telemetry.telemetry import Telemetry
from service.monitoring.telemetry.tracing import SpansOfRequests, Tracing
from service.monitoring.telemetry.wanted import Signal, Wanted

log = logging.getLogger("contraflow.telemetry")


REQUESTS_AT_A_TIME: Final = 128
"""Requests whose spans are sent together, about 500 of them, unless a variable says otherwise."""


def sending(asked: Wanted, exporters: Mapping[Signal, Sequence[EntryPoint]]) -> Telemetry:
    """Return what sends to these exporters. Any error of the SDK about a variable is raised as it is."""
    complaints = listen_to("opentelemetry")
    resource = described()
    span_exporters: list[SpanExporter] = [one.load()() for one in exporters.get("traces", ())]
    metric_exporters: list[MetricExporter] = [one.load()() for one in exporters.get("metrics", ())]
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    queue = span_queue(SpansOfRequests(span_exporters, resource, provider.id_generator)) if span_exporters else None
    tracing = Tracing(provider, queue, asked.reads_traceparent) if queue else None
    pusher = MetricsPusher(metric_exporters, resource) if metric_exporters else None
    for signal, entries in exporters.items():
        log.info("%s are sent by %s", signal, ", ".join(entry.name for entry in entries))
    return Telemetry(
        begin_trace=tracing.begin if tracing else None,
        observers=(tracing.observe,) if tracing else (),
        starts=(pusher.start,) if pusher else (),
        ends=(*((queue.shutdown,) if queue else ()), *((pusher.stop,) if pusher else ())),
        fall_silent=complaints.fall_silent,
    )


def span_queue(exporter: SpanExporter) -> BatchSpanProcessor:
    """Return the SDK's queue, whose entries are requests: that is what `OTEL_BSP_MAX_…` count."""
    sized = OTEL_BSP_MAX_QUEUE_SIZE in os.environ or OTEL_BSP_MAX_EXPORT_BATCH_SIZE in os.environ
    return BatchSpanProcessor(exporter, max_export_batch_size=None if sized else REQUESTS_AT_A_TIME)


class Sender(Resource):
    """Who sends. The exporter hashes it for each span, which for the SDK's own is to write it as JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = hash(resource)

    def __hash__(self) -> int:
        return self._hash


def described() -> Resource:
    """Return who sends. The id tells replicas apart, whose counts a backend would otherwise take for one series."""
    own = {
        "service.name": "contraflow",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),
    }
    given = OTELResourceDetector().detect().attributes or {}
    return Sender(Resource.create({name: value for name, value in own.items() if name not in given}))
