"""Which requests are recorded, and under which span.

That is decided when a request begins, so that its answer can name its span, and so that the many that are not
recorded cost two microseconds and nothing later. The SDK's sampler decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from service.engine.trace_context import TraceContext
from service.monitoring.finished_request import FinishedRequest
from service.monitoring.telemetry.spans import spans_of, trace_state

PROBES: Final = {"/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
"""Addresses that something asks every few seconds; their requests begin no trace."""

RANDOM: Final = TraceFlags.RANDOM_TRACE_ID
"""Flag of a trace whose id is random."""

NOBODY: Final = Context()


class Tracing:
    """Begins the traces of requests, and hands their spans to processors."""

    def __init__(self, provider: TracerProvider, processors: Sequence[SpanProcessor], reads_traceparent: bool) -> None:
        self._sampler, self._ids, self._resource = provider.sampler, provider.id_generator, provider.resource
        self._processors = processors
        self._reads_traceparent = reads_traceparent

    def begin(self, given: TraceContext | None, path: str) -> TraceContext | None:
        """Return the request's own span if it is recorded, else what was given: see `BeginTrace`."""
        caller = given if self._reads_traceparent else None
        if caller is None:
            if path in PROBES:
                return given
            trace_id, state, around, parent, flags = self._ids.generate_trace_id(), "", NOBODY, "", RANDOM
        else:
            trace_id, state, around = int(caller.trace_id, 16), caller.state, _around(caller)
            parent, flags = caller.span_id, caller.flags & RANDOM
        sampled = self._sampler.should_sample(around, trace_id, "request", SpanKind.SERVER)
        if sampled.decision is not Decision.RECORD_AND_SAMPLE:
            return given
        span_id = self._ids.generate_span_id()
        return TraceContext(f"{trace_id:032x}", f"{span_id:016x}", flags | TraceFlags.SAMPLED, state, parent)

    def observe(self, finished: FinishedRequest) -> None:
        """Hand over the spans of a request that is over, if it is recorded."""
        trace = finished.context.trace
        if trace is None or trace.parent is None:
            return
        for span in spans_of(finished, trace, trace.parent, self._resource, self._ids):
            for processor in self._processors:
                processor.on_end(span)


def _around(caller: TraceContext) -> Context:
    """Return the context in which the caller's span is the current one."""
    span = SpanContext(
        int(caller.trace_id, 16), int(caller.span_id, 16), True, TraceFlags(caller.flags), trace_state(caller.state)
    )
    return set_span_in_context(NonRecordingSpan(span), NOBODY)
