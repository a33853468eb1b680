"""A collector of OpenTelemetry that keeps what it is sent (OTLP by HTTP, as protobuf), on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(ThreadingHTTPServer):
    """Keeps the bodies that were sent to each path; they are taken apart when somebody asks."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}
        self.gone = False
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def go(self) -> None:
        """Take nothing more, on the connections that are open neither."""
        self.gone = True
        self.shutdown()
        self.server_close()

    def spans(self) -> list[Span]:
        """Return all spans so far."""
        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies["/v1/traces"]]
        return [span for one in sent for of in one.resource_spans for scope in of.scope_spans for span in scope.spans]

    def states(self) -> list[dict[str, Metric]]:
        """Return the metrics by name, once for each time that they were sent."""
        sent = [ExportMetricsServiceRequest.FromString(body) for body in self.bodies["/v1/metrics"]]
        scopes = [[scope for of in one.resource_metrics for scope in of.scope_metrics] for one in sent]
        return [{metric.name: metric for scope in state for metric in scope.metrics} for state in scopes]

    def resource(self) -> dict[str, str]:
        """Return the attributes of who sent the first metrics."""
        first = ExportMetricsServiceRequest.FromString(self.bodies["/v1/metrics"][0])
        return {one.key: one.value.string_value for one in first.resource_metrics[0].resource.attributes}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        if self.server.gone:
            self.close_connection = True
            return
        self.server.bodies[self.path].append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the context ends."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
