"""The cost of a shadow for requests that do not know of it → docs/reports/shadow.md.

Services of the same bundles get the same arrivals in turns, at a quarter and at half of the rate that predictions
reach: without a shadow (twice, which shows what the comparison can tell), with a second version of resnet20 at two
shares, and with a shadow that takes about twelve times as long, resnet56 for pictures of 64 × 64.
The limit is that of the tenth promise: the 99th percentile is raised by one run of the backward graph at most, in the
median round; its quartiles show how much else the machine had to do. Takes four minutes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from bench.bundles.copies import describe, distinct, enlarged
from bench.harness.client import Reply, post
from bench.harness.load import closed_loop, open_loop, percentile, throughput
from bench.harness.machine import conditions
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import CAT, DOCS, SHIPPED
from bench.harness.readings import Metrics, get
from bench.harness.server import Server, service

COMMAND: Final = "python -m bench.shadow"
NAME: Final = "resnet20"
LOADS: Final = (0.25, 0.5)
"""Rates, as shares of the rate that predictions reach."""
RUN: Final = "contraflow_run_duration_seconds"
WITHOUT: Final = "no shadow"
SHADOW: Final = ("--default-model", f"{NAME}@1", "--shadow", f"{NAME}@2")
FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    WITHOUT: ("--default-model", f"{NAME}@1"),
    "no shadow, again": ("--default-model", f"{NAME}@1"),
    "shadow of 5 %": SHADOW,
    "shadow of 100 %": (*SHADOW, "--shadow-share", "1"),
    "slow shadow of 100 %": ("--default-model", f"{NAME}@1", "--shadow", "large@1", "--shadow-share", "1"),
}


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "shadow.md")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="at each rate (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_versions(Path(folder))
        servers = {name: stack.enter_context(service(Path(folder), *flags)) for name, flags in FLAGS.items()}
        for server in servers.values():
            closed_loop(server.port, [request()], 1, min(2.0, 5 * options.seconds), pause=0.01)  # loads what it needs
        rows = []
        for load in LOADS:
            replies, rate = in_turns(servers, load, options.seconds, options.rounds)
            rows += rows_of(replies, f"{load:.0%} of capacity ({rate:.0f} requests/s)")
        rows_of_services = [row_of(name, server) for name, server in servers.items()]
        limit = one_backward_run(list(servers.values()))
    text = [
        f"{conditions()}: {options.rounds} rounds of {options.seconds:g} s for each service and rate. The "
        f"limit, one run of the backward graph, is {limit:.2f} ms.",
        table("load | service | p50 ms | p99 ms | p99 of a round raised by, ms | answers that were not 200", rows),
        table("service | images compared | dropped | gradients compared | memory, MB", rows_of_services),
    ]
    publish(options, COMMAND, "\n\n".join(text))


def write_versions(folder: Path) -> None:
    """Write two versions whose weights differ a little, so that the two share no graph, and a slow model."""
    shutil.copytree(SHIPPED / NAME, folder / NAME / "1")
    second = distinct(SHIPPED / NAME, folder / NAME / "2", 2)
    describe(second, lambda document: document.update(name=NAME, version="2"))
    enlarged(folder, 64)


def request() -> bytes:
    return post("/predict", CAT.read_bytes())


Rounds = dict[str, list[list[Reply]]]
"""Service → the replies of each round."""


def in_turns(servers: Mapping[str, Server], load: float, seconds: float, rounds: int) -> tuple[Rounds, float]:
    """Send the same arrivals to every service, in an order that changes; return the replies and the mean rate."""
    replies: Rounds = {name: [] for name in servers}
    rates = []
    for seed in range(rounds):
        rate = load * throughput(closed_loop(servers[WITHOUT].port, [request()], 16, min(1.5, seconds)))
        rates.append(rate)
        first = seed % len(servers)
        for name in [*list(servers)[first:], *list(servers)[:first]]:
            replies[name].append(open_loop(servers[name].port, [request()], rate, seconds, patience=5.0, seed=seed))
    return replies, sum(rates) / len(rates)


def rows_of(rounds: Rounds, load: str) -> list[str]:
    rows = []
    for name, own in rounds.items():
        every = [reply for some in own for reply in some]
        raised = [
            percentile(some, 99) - percentile(plain, 99) for some, plain in zip(own, rounds[WITHOUT], strict=True)
        ]
        rows.append(
            f"{load} | {name} | {percentile(every, 50):.2f} | {percentile(every, 99):.2f} | "
            f"{'' if name == WITHOUT else spread(raised)} | {sum(reply.status != 200 for reply in every)}"
        )
    return rows


def spread(differences: Sequence[float]) -> str:
    """Return the median over the rounds, and the quartiles if there are several."""
    if len(differences) < 2:
        return f"{differences[0]:.2f}"
    low, _, high = quantiles(differences, n=4, method="inclusive")
    return f"{median(differences):.2f} ({low:.2f} to {high:.2f})"


def row_of(name: str, server: Server) -> str:
    megabytes = f"{server.proportional_megabytes():.0f}"
    if "--shadow" not in FLAGS[name]:
        return f"{name} | | | | {megabytes}"
    found = get(server.port, "/diagnostics/shadow")
    model, _, version = found["shadow"].partition("@")
    gradients = Metrics(server.port).total(f"{RUN}_count", model=model, version=version, graph="weight_norms")
    return f"{name} | {found['all']['compared']:,} | {found['all']['dropped']:,} | {gradients:,.0f} | {megabytes}"


def one_backward_run(servers: Sequence[Server]) -> float:
    """Return the mean milliseconds of one run of the backward graph of the model that answers, over all services."""
    readings = [Metrics(server.port) for server in servers]
    seconds, runs = (
        sum(one.total(f"{RUN}_{part}", model=NAME, version="1", graph="weight_norms") for one in readings)
        for part in ("sum", "count")
    )
    return 1e3 * seconds / max(1.0, runs)


if __name__ == "__main__":
    main()
