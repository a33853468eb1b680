"""`python -m bench.serving.records`: what records of requests cost a service under load → docs/reports/serving.md.

One service keeps no record, one logs a line for each request, as all do by default, and two send OpenTelemetry's spans
and metrics to a collector on this machine, of a tenth of their requests or of all. Requests come at a fixed rate,
whatever was answered: clients that wait for answers settle into groups, and the size of the groups costs more or less
than what is measured. All services are loaded in turns, so that other work on the machine hits them alike, and each is
compared with the one without records in the same round. A second service without records shows what the comparison can
tell. Takes five minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import NamedTuple

from bench.harness.apart import call_apart
from bench.harness.collector import Collector, collecting
from bench.harness.machine import day_and_machine
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import DOCS
from bench.harness.readings import every_model_ready
from bench.harness.server import QUIET, Server, free_port, running, service_command
from bench.serving.generator import answer_times
from bench.serving.servers import settle
from bench.serving.subjects import small, write_expected

COMMAND = "python -m bench.serving.records"
RATE = 400.0
"""Requests per second."""
AIM = 0.03


class Records(NamedTuple):
    """Says which records a service keeps of its requests."""

    lines: bool = False
    """True if it logs a line for each."""
    traced: str = ""
    """Share that OpenTelemetry records; "" for a service that has never heard of it."""


NO_RECORD = "no record"
SERVICES: Mapping[str, Records] = {
    NO_RECORD: Records(),
    "no record, again": Records(),
    "a line logged for each": Records(lines=True),
    "a tenth traced": Records(traced="0.1"),
    "all traced": Records(traced="1"),
}


class Load(NamedTuple):
    """The figures of one service in one turn."""

    processor: float
    """CPU seconds for each request."""
    p50: float
    p99: float
    """Seconds until the answer."""


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "serving.md")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="after each start (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="of each service (default: %(default)s)")
    options = parser.parse_args()
    rounds: list[dict[str, Load]] = []
    with tempfile.TemporaryDirectory() as folder, collecting() as collector:
        subject, images = small(Path(folder), options.seconds), Path(folder) / "images.json"
        write_expected(subject, images)
        for _ in range(options.starts):  # two processes of the same program differ, too
            rounds += rounds_of_one_start(subject.bundle, images, options.seconds, options.rounds, collector)
        spans = len(collector.spans())
    publish(options, COMMAND, report(rounds, spans, options.seconds))


def rounds_of_one_start(
    bundle: Path, images: Path, seconds: float, rounds: int, collector: Collector
) -> list[dict[str, Load]]:
    """Load the services in turns, each round in another order."""
    shuffled = Random(0)
    with ExitStack() as services:
        servers = {
            name: services.enter_context(started(bundle, records, collector)) for name, records in SERVICES.items()
        }
        for server in servers.values():
            settle(server)
            load(server, images, min(1.0, seconds))
        return [
            {name: load(servers[name], images, seconds) for name in order}
            for order in [shuffled.sample(list(servers), len(servers)) for _ in range(rounds)]
        ]


def started(bundle: Path, records: Records, collector: Collector) -> AbstractContextManager[Server]:
    """Run a service that keeps `records`."""
    environment = {"MALLOC_ARENA_MAX": "2"}
    if records.traced:
        environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": records.traced,
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",
        }
    port = free_port()
    flags = (*QUIET, *(("--log-level", "info") if records.lines else ()))  # the last of two counts
    return running([*service_command(port, bundle), *flags], port, every_model_ready, environment=environment)


def load(server: Server, images: Path, seconds: float) -> Load:
    before = server.processor_seconds()
    times: list[float] = call_apart(answer_times, server.port, str(images), RATE, seconds)
    used = server.processor_seconds() - before
    return Load(used / len(times), median(times), quantiles(times, n=100)[-1])


def report(rounds: Sequence[Mapping[str, Load]], spans: int, seconds: float) -> str:
    rows = []
    for name in SERVICES:
        loads = [one[name] for one in rounds]
        figures = f"{1e6 * median(one.processor for one in loads):,.0f} | " + " | ".join(
            f"{1e3 * median(times):.2f}" for times in ([one.p50 for one in loads], [one.p99 for one in loads])
        )
        dearer = [one[name].processor / one[NO_RECORD].processor - 1 for one in rounds]
        rows.append(f"{name} | {figures} | " + ("" if name == NO_RECORD else spread(dearer)))
    return "\n\n".join(
        [
            f"{day_and_machine()}: resnet20, {RATE:g} requests/s, {len(rounds)} rounds of {seconds:g} s for each "
            f"service, {spans:,} spans received. Medians over the rounds, of the last column with their quartiles; the "
            f"aim is that tracing a tenth costs less than {AIM:.0%}.",
            table("service | CPU µs per request | p50 ms | p99 ms | dearer by", rows),
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
