"""OpenTelemetry: spans of requests, and the metrics of `/metrics`, sent to a collector.

Off, and not even imported, unless the standard variables `OTEL_*` ask for it. `wanted`, `telemetry` and `starting`
import nothing of OpenTelemetry.

wanted       what the variables ask for
telemetry    what the service is given: functions to call
starting     from the variables to that; what cannot be done is a warning
sending      the official SDK's exporters, made and ended
tracing      which requests are recorded, and under which span
record       what is kept of one until it is sent
spans        a request that is over, as spans
metrics      the metrics of the Prometheus client, as OpenTelemetry's
pushing      a thread that sends them again and again
complaints   what the SDK logs, at most one line a minute for each of its parts
"""
