"""`python -m bench.serving.telemetry`: what OpenTelemetry costs a service under load → docs/performance.md.

One service without it, one that records a tenth of its requests, and one that records all, each sending spans and
metrics to a collector on this machine. All are loaded in turns, so that other work on the machine hits them alike, and
each is compared with the one without in the same round. Takes two minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.harness.apart import call_apart
from bench.harness.collector import Collector, collecting
from bench.harness.machine import machine
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import DOCS
from bench.harness.readings import every_model_ready
from bench.harness.server import QUIET, Server, free_port, running, service_command
from bench.serving.generator import load_with_images
from bench.serving.servers import settle
from bench.serving.subjects import small, write_expected

COMMAND = "python -m bench.serving.telemetry"
CONNECTIONS = 32
WITHOUT = "without"
SHARES: Mapping[str, str] = {WITHOUT: "", "a tenth recorded": "0.1", "all recorded": "1"}
"""Service → share of its requests that it records."""
AIM = 0.03


class Load(NamedTuple):
    """What one service did in one turn."""

    rate: float
    """Right answers per second."""
    processor: float
    """CPU seconds of the service for each."""


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "performance.md")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each service (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, collecting() as collector, ExitStack() as services:
        subject, images = small(Path(folder), options.seconds), Path(folder) / "images.json"
        write_expected(subject, images)
        servers = {
            name: services.enter_context(started(subject.bundle, share, collector)) for name, share in SHARES.items()
        }
        for server in servers.values():
            settle(server)
            load(server, images, min(1.0, options.seconds))
        rounds = [one_round(servers, images, options.seconds, number) for number in range(options.rounds)]
        spans = len(collector.spans())
    publish(options, COMMAND, report(rounds, spans, options.seconds))


def started(bundle: Path, share: str, collector: Collector) -> AbstractContextManager[Server]:
    """Run a service that records `share` of its requests; "" is one that has never heard of OpenTelemetry."""
    environment = {"MALLOC_ARENA_MAX": "2"}
    if share:
        environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": share,
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",
        }
    port = free_port()
    return running([*service_command(port, bundle), *QUIET], port, every_model_ready, environment=environment)


def one_round(servers: Mapping[str, Server], images: Path, seconds: float, number: int) -> dict[str, Load]:
    """Load each service once, in an order that turns around from round to round."""
    order = list(servers.items())
    return {name: load(server, images, seconds) for name, server in (order if number % 2 else reversed(order))}


def load(server: Server, images: Path, seconds: float) -> Load:
    before = server.processor_seconds()
    done = call_apart(load_with_images, server.port, "/predict", "raw", str(images), CONNECTIONS, seconds)
    return Load(done["rate"], (server.processor_seconds() - before) / done["right"])


def report(rounds: Sequence[Mapping[str, Load]], spans: int, seconds: float) -> str:
    rows = []
    for name in SHARES:
        loads = [one[name] for one in rounds]
        slower = [1 - one[name].rate / one[WITHOUT].rate for one in rounds]
        dearer = [one[name].processor / one[WITHOUT].processor - 1 for one in rounds]
        figures = f"{median(one.rate for one in loads):,.0f} | {1e6 * median(one.processor for one in loads):,.0f}"
        rows.append(f"{name} | {figures} | " + ("|" if name == WITHOUT else f"{spread(slower)} | {spread(dearer)}"))
    return "\n\n".join(
        [
            f"Measured on {machine()}: resnet20, {CONNECTIONS} connections, {len(rounds)} rounds of {seconds:g} s for "
            f"each service, {spans:,} spans received. Medians over the rounds, with their quartiles; the aim is that "
            f"a tenth costs less than {AIM:.0%}.",
            table("service | requests/s | CPU µs per request | slower by | dearer by", rows),
        ]
    )


def spread(shares: Sequence[float]) -> str:
    """Return the median, and the quartiles if there are several values."""
    if len(shares) < 2:
        return f"{shares[0]:.1%}"
    low, middle, high = quantiles(shares, n=4, method="inclusive")
    return f"{middle:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
