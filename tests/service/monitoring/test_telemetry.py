"""OpenTelemetry: spans and metrics of a service in a process of its own, as a collector gets them over a socket."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.util.re import parse_env_headers
from prometheus_client.parser import text_string_to_metric_families

from bench.harness.collector import Collector, collecting
from service.monitoring.telemetry.complaints import listen_to
from service.monitoring.telemetry.starting import telemetry
from service.monitoring.telemetry.wanted import NotUnderstood, wanted
from tests.service.live_server import picture, wait_until
from tests.service.sources.served_process import ServedProcess, served
from tests.service.tiny_bundles import write_bundle

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


class Observed(NamedTuple):
    service: ServedProcess
    collector: Collector

    def spans_of(self, request_id: str) -> tuple[Span, list[Span]]:
        """Wait for the span of a request, and return it and its children."""
        wait_until(lambda: self._root(request_id))
        root = self._root(request_id)
        assert root is not None
        return root, [span for span in self.collector.spans() if span.parent_span_id == root.span_id]

    def _root(self, request_id: str) -> Span | None:
        wanted = ("contraflow.request_id", request_id)
        return next((span for span in self.collector.spans() if wanted in values(span.attributes).items()), None)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that records what its callers record, and what sends it a trace in no case else."""
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, "picky", fails_on_white=True)
    with collecting() as collector, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_PROPAGATORS": "tracecontext,baggage,b3",  # some clusters name all that they know
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }.items():
            environment.setenv(name, value)
        with served(folder / "cache", folder, "--default-model", "tiny") as service:
            yield Observed(service, collector)


def values(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


def test_a_request_is_a_span_of_its_callers_trace_with_a_child_for_each_stage(observed: Observed) -> None:
    client = observed.service.client
    answer = client.post("/predict?top_k=2", content=picture(), headers={**SAMPLED, "x-request-id": "one"})
    root, children = observed.spans_of("one")
    assert (root.name, root.kind, root.status.code) == (
        "POST /predict",
        Span.SPAN_KIND_SERVER,
        Status.STATUS_CODE_UNSET,
    )
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.trace_state) == (TRACE, CALLER, "vendor=1")
    assert answer.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert observed.service.said(f"trace={TRACE}")
    described = values(root.attributes)
    assert (
        described
        | {
            "http.request.method": "POST",
            "http.route": "/predict",
            "http.response.status_code": 200,
            "http.request.body.size": len(picture()),
            "http.response.body.size": len(answer.content),
            "url.scheme": "http",
            "url.path": "/predict",
            "url.query": "top_k=2",
            "client.address": "127.0.0.1",
            "server.address": "127.0.0.1",
            "server.port": client.base_url.port,
            "contraflow.model": "tiny@1",
            "contraflow.outcome": "answered",
        }
        == described
    )
    assert [child.name for child in children] == ["queue", "decode", "run"]
    assert values(children[2].attributes) == {
        "contraflow.model": "tiny",
        "contraflow.version": "1",
        "contraflow.graph": "forward",
        "contraflow.images": 1,
        "contraflow.batch_size": 1,
    }
    assert {child.trace_id.hex() for child in children} == {TRACE}
    times = [root.start_time_unix_nano, *[child.start_time_unix_nano for child in children]]
    assert times == sorted(times)
    assert children[-1].end_time_unix_nano <= root.end_time_unix_nano
    assert abs(root.end_time_unix_nano - time.time_ns()) < 60e9


def test_pictures_that_are_decoded_ahead_of_their_run_have_one_decoding(observed: Observed) -> None:
    files = [("image", (f"{colour}.png", picture(colour))) for colour in ("red", "green", "blue")]
    observed.service.client.post("/predict", files=files, headers={**SAMPLED, "x-request-id": "three"})
    _, children = observed.spans_of("three")
    assert [child.name for child in children] == ["decode", "queue", "run"]
    assert values(children[0].attributes) == {"contraflow.images": 3}
    assert children[0].end_time_unix_nano <= children[1].start_time_unix_nano + 1000  # they are rounded apart


def test_a_request_that_fails_is_an_error_and_one_that_is_refused_is_not(observed: Observed) -> None:
    client = observed.service.client
    client.post("/predict?model=picky", content=picture("white"), headers={**SAMPLED, "x-request-id": "failed"})
    client.get("/nowhere?token=k1", headers={**SAMPLED, "x-request-id": "refused"})
    failed, refused = observed.spans_of("failed")[0], observed.spans_of("refused")[0]
    assert (failed.status.code, values(failed.attributes)["error.type"]) == (Status.STATUS_CODE_ERROR, "500")
    assert (refused.name, refused.status.code) == ("GET", Status.STATUS_CODE_UNSET)
    described = values(refused.attributes)
    assert (described["http.response.status_code"], described["url.query"]) == (404, "token=…")


def test_what_cannot_be_obeyed_is_said(observed: Observed) -> None:
    assert observed.service.said("OTEL_PROPAGATORS: b3 is not read; the header traceparent is, by tracecontext")


def test_a_request_that_is_not_sampled_is_not_recorded(observed: Observed) -> None:
    client = observed.service.client
    client.post("/predict", content=picture(), headers={**NOT_SAMPLED, "x-request-id": "unrecorded"})
    client.post("/predict", content=picture(), headers={"x-request-id": "of-no-trace"})
    client.post("/predict", content=picture(), headers={**SAMPLED, "x-request-id": "recorded-afterwards"})
    observed.spans_of("recorded-afterwards")
    recorded = {values(span.attributes).get("contraflow.request_id") for span in observed.collector.spans()}
    assert not recorded & {"unrecorded", "of-no-trace"}


def test_the_metrics_are_those_of_the_endpoint(observed: Observed) -> None:
    shown = observed.service.client.get("/metrics").text
    wait_until(lambda: counted_metrics(observed.collector.states()[-1]))
    state = observed.collector.states()[-1]
    families = text_string_to_metric_families(shown)
    expected = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.startswith("process_") and "stage" not in sample.name
    }
    sent = {key: value for name, metric in state.items() for key, value in as_samples(name, metric)}
    assert len(expected) > 80
    assert {key: sent[key] for key in expected} == expected
    assert state["contraflow_run_duration_seconds"].unit == "s"
    assert state["process_resident_memory_bytes"].gauge.data_points[0].as_double > 1e6
    assert (
        observed.collector.resource()
        | {
            "service.name": "contraflow",
            "deployment.environment.name": "test",
        }
        == observed.collector.resource()
    )


def counted_metrics(state: dict[str, Metric]) -> bool:
    """Say whether the request for `/metrics` is among the counts."""
    return any(values(one.attributes)["route"] == "/metrics" for one in state["contraflow_requests"].sum.data_points)


def as_samples(name: str, metric: Metric) -> Iterator[tuple[tuple[str, tuple[tuple[str, str | int], ...]], float]]:
    """Yield the samples that Prometheus would have of a metric."""
    if metric.HasField("histogram"):
        for point in metric.histogram.data_points:
            labels = values(point.attributes)
            bounds = [*map(str, point.explicit_bounds), "+Inf"]
            for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True):
                yield (f"{name}_bucket", tuple(sorted({**labels, "le": bound}.items()))), count
            yield (f"{name}_count", tuple(sorted(labels.items()))), point.count
            yield (f"{name}_sum", tuple(sorted(labels.items()))), point.sum
        return
    counted = metric.HasField("sum")
    assert not counted or metric.sum.is_monotonic
    for number in metric.sum.data_points if counted else metric.gauge.data_points:
        key = (f"{name}_total" if counted else name, tuple(sorted(values(number.attributes).items())))
        yield key, number.as_double if number.HasField("as_double") else number.as_int


def test_a_collector_that_is_gone_neither_holds_up_the_end_nor_fills_the_log(observed: Observed) -> None:
    before = len(observed.service.lines)
    observed.collector.go()
    observed.service.client.post("/predict", content=picture(), headers=SAMPLED)
    wait_until(lambda: observed.service.said("contraflow.telemetry: Transient error"))
    began = time.monotonic()
    observed.service.end()
    assert time.monotonic() - began < 8  # 2 s of them for the collector
    loud = [line for line in observed.service.lines[before:] if " INFO " not in line]
    assert 2 <= len(loud) <= 3, loud  # of the spans, of the metrics, and of what is lost
    assert "is lost" in loud[-1]


def test_a_header_that_the_sdk_cannot_read_is_not_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = "Authorization: Bearer open%20sesame, X-Scope-OrgID=1"  # a colon where "=" belongs
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", given)
    of_headers = logging.getLogger("opentelemetry.util.re")
    monkeypatch.setattr(of_headers, "handlers", [])
    monkeypatch.setattr(of_headers, "propagate", True)
    listen_to(of_headers.name)
    parse_env_headers(given, liberal=True)
    (line,) = caplog.messages
    assert line.endswith("comma separated list of name=value occurrences: Authorization: …")


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "named", "OTEL_TRACES_EXPORTER": " "}, None),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "prometheus"}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, None),
        (ENDPOINT, {"traces": ("otlp_proto_http",), "metrics": ("otlp_proto_http",)}),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, {"traces": ("otlp_proto_http",)}),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, {"traces": ("otlp_proto_http",)}),
        ({"OTEL_METRICS_EXPORTER": "console, otlp"}, {"metrics": ("console", "otlp_proto_http")}),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            {"traces": ("otlp_proto_grpc",)},
        ),
    ],
)
def test_what_the_variables_ask_for(environment: dict[str, str], exporters: dict[str, tuple[str, ...]] | None) -> None:
    asked = wanted(environment)
    assert (asked and asked.exporters) == exporters


def test_a_protocol_that_is_none_is_named() -> None:
    with pytest.raises(NotUnderstood, match="OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is none of http/protobuf, grpc"):
        wanted({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})


@pytest.mark.parametrize(
    ("environment", "hidden", "warning"),
    [
        (ENDPOINT, "opentelemetry.sdk", "pip install 'contraflow[telemetry]'"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "grpc",
            "there is no exporter otlp_proto_grpc of traces: pip install opentelemetry-exporter-otlp-proto-grpc",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin", "no exporter zipkin of traces: no installed package brings it"),
    ],
)
def test_what_is_asked_for_and_not_installed_is_one_warning(
    environment: dict[str, str],
    hidden: str,
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, hidden, None)
    with caplog.at_level(logging.WARNING):
        assert telemetry(environment) is None
    (line,) = caplog.messages
    assert line.startswith(f"{next(iter(environment))} asks for telemetry, and none is sent: ")
    assert warning in line
