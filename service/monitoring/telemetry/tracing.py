"""Which requests are recorded, and under which span.

That is decided when a request begins, so that its answer can name its span. The SDK's sampler decides. Whatever the
event loop does once a request finds its caches cold, and takes five times as long as in a row with its like. So the
many requests that are not recorded have their lots drawn ahead, and the spans of the others are made by the thread that
sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from service.engine.trace_context import TraceContext
from service.monitoring.finished_request import FinishedRequest
from service.monitoring.request_log import is_quiet_path
from service.monitoring.telemetry.record import record_of
from service.monitoring.telemetry.spans import SpanMaker

DRAWN_AHEAD: Final = 32
RANDOM: Final = TraceFlags.RANDOM_TRACE_ID
"""Flag of a trace whose id is random."""

NOBODY: Final = Context()
CALLERS: Final = tuple(
    set_span_in_context(NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(flags))), NOBODY)
    for flags in (TraceFlags.DEFAULT, TraceFlags.SAMPLED)
)
"""A caller that does not record its trace, and one that does: samplers look at nothing else of it."""

RECORDED: Final = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))


class Recorded(ReadableSpan):
    """A request that is over, in the queue of spans to be sent; its own spans are made when its turn comes."""

    def __init__(self, finished: FinishedRequest, trace: TraceContext) -> None:
        self._context = RECORDED  # all that the queue looks at
        self.record = record_of(finished, trace)


class SpansOfRequests(SpanExporter):
    """Takes requests from the queue, in the queue's thread, and has their spans sent."""

    def __init__(self, exporters: Sequence[SpanExporter], resource: Resource, ids: IdGenerator) -> None:
        self._exporters, self._maker = exporters, SpanMaker(resource, ids)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        made = [span for one in spans if isinstance(one, Recorded) for span in self._maker.spans(one.record)]
        results = [exporter.export(made) for exporter in self._exporters]
        return SpanExportResult.FAILURE if SpanExportResult.FAILURE in results else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()


class Tracing:
    """Begins the traces of requests, and queues those that are recorded."""

    def __init__(self, provider: TracerProvider, queue: SpanProcessor, reads_traceparent: bool) -> None:
        self._sampler, self._ids, self._queue = provider.sampler, provider.id_generator, queue
        self._reads_traceparent = reads_traceparent
        self._lots = self._draw()

    def begin(self, given: TraceContext | None, path: str) -> TraceContext | None:
        """Return the request's own span if it is recorded, else what was given: see `BeginTrace`."""
        if given is None or not self._reads_traceparent:
            trace_id = None if is_quiet_path(path) else next(self._lots)  # they begin no trace
            return given if trace_id is None else self._own(f"{trace_id:032x}", RANDOM, "", "")
        if not self._samples(int(given.trace_id, 16), CALLERS[given.sampled]):
            return given
        return self._own(given.trace_id, given.flags & RANDOM, given.state, given.span_id)

    def observe(self, finished: FinishedRequest) -> None:
        """Queue a request that is over, if it is recorded."""
        trace = finished.context.trace
        if trace is not None and trace.parent is not None:
            self._queue.on_end(Recorded(finished, trace))

    def _own(self, trace_id: str, flags: int, state: str, parent: str) -> TraceContext:
        span_id = f"{self._ids.generate_span_id():016x}"
        return TraceContext(trace_id, span_id, flags | TraceFlags.SAMPLED, state, parent)

    def _draw(self) -> Iterator[int | None]:
        """Yield the id of a new trace for each request that is to be recorded, and None for the others."""
        while True:
            ids = [self._ids.generate_trace_id() for _ in range(DRAWN_AHEAD)]
            yield from [one if self._samples(one, NOBODY) else None for one in ids]

    def _samples(self, trace_id: int, caller: Context) -> bool:
        result = self._sampler.should_sample(caller, trace_id, "request", SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE
