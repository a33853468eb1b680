"""Measure one replica, check the queueing model on two real ones, and plan for any load: `python -m bench.scaling`.

Takes about three minutes, and needs nginx and a machine with nothing else to do. The capacity and the plan are
those of a shipped model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.harness.client import post
from bench.harness.machine import machine
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import CAT, DOCS, SHIPPED
from bench.scaling.comparison import Row, compare
from bench.scaling.queueing import RunTime, highest_load, plan
from bench.scaling.replicas import CLIENTS_OF_TWO, Capacity, kill_one, measure

COMMAND = "make bench-scaling"
LOADS = (1e3, 1e5, 1e7)
"""Images per second that are planned for."""
ZONES = 3
PLANNED_BATCH = 32
QUIET = 0.1
"""Share of the processors that other work may have before the section warns of it."""


def main() -> int:
    parser = parser_of("python -m bench.scaling", __doc__, DOCS / "reports" / "scaling.md")
    parser.add_argument("--bundles", type=Path, default=SHIPPED)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--image", type=Path, default=CAT)
    seconds = "of each measurement; the comparison's three take three times as long (default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=10.0, help=seconds)
    parser.add_argument("--deadline", type=float, default=0.05, help="seconds that 99 %% must meet")
    parser.add_argument("--highest-load", type=float, default=0.7, help="that is planned for (default: %(default)s)")
    parser.add_argument("--cpu-hour-price", type=float, default=0.04, help="an assumption, not a quotation")
    options = parser.parse_args()
    image = options.image.read_bytes()
    request = post(f"/predict?model={options.model}", image)
    replica = measure(options.bundles, request, options.seconds)
    comparison = compare(image, options.seconds)
    replies = kill_one(options.bundles, request, options.seconds)
    failed = sum(reply.status != 200 for reply in replies)
    # Each image is charged its whole CPU cost, the event loop's part too.
    run = RunTime(setup=0.0, per_image=replica.processor_seconds, largest=PLANNED_BATCH)
    load = highest_load(run, replica.slots, options.deadline)
    parts = [
        f"Measured on {machine()}, {options.model}, one {options.image.name} per request "
        f"({replica.request_bytes} bytes).",
        one_replica(replica, load, options.deadline),
        *compared(*comparison),
        f"One of two replicas killed (SIGKILL) under a load of {CLIENTS_OF_TWO} clients: {len(replies)} requests, "
        f"{failed} failed, the longest took {max(reply.seconds for reply in replies) * 1e3:.0f} ms.",
        planned(replica, min(load, options.highest_load), options.cpu_hour_price),
        f"Cost: {options.cpu_hour_price} per CPU-hour (an assumption), of replicas and nginx, without discounts.",
    ]
    publish(options, COMMAND, "\n\n".join(parts))
    return 1 if failed else 0


def one_replica(replica: Capacity, load: float, deadline: float) -> str:
    rows = [
        f"run slots | {replica.slots}",
        f"images/s at saturation (load generator on the same cores) | {replica.images_per_second:.0f}",
        f"CPU milliseconds per image, all of the service | {replica.processor_seconds * 1e3:.2f}",
        f"images per CPU-second | {1 / replica.processor_seconds:.0f}",
        f"CPU milliseconds per request, nginx | {replica.balancer_seconds * 1e3:.3f}",
        f"highest load at which 99 % take ≤ {deadline * 1e3:.0f} ms (simulated) | {load:.0%}",
    ]
    return table("one replica | figure", rows)


def compared(run: RunTime, around: float, rows: Sequence[Row]) -> list[str]:
    """Return the comparison, and a warning if the machine was not as quiet as the figures need."""
    header = (
        "load | at the replica, measured | model | simulation | measured / model | at the client, measured "
        "| model + what is added | processors in use | by anything else"
    )
    cells = [
        f"{row.load:.0%} | {row.served * 1e3:.1f} ± {row.error * 1e3:.1f} ms | {row.model * 1e3:.1f} ms "
        f"| {row.simulated * 1e3:.1f} ms | {row.served / row.model:.2f} | {row.whole * 1e3:.1f} ms "
        f"| {(row.model + around) * 1e3:.1f} ms | {row.busy:.0%} | {row.others:.0%}"
        for row in rows
    ]
    parts = [
        f"Two replicas of one slot behind nginx, a classifier of {run.seconds(1) * 1e3:.1f} ms per image, batches of "
        f"up to {run.largest}: T(b) = {run.setup * 1e3:.2f} ms + b × {run.per_image * 1e3:.2f} ms. Client, nginx and "
        f"network add {around * 1e3:.2f} ms to an image that finds nobody before it.",
        table(header, cells),
    ]
    others = max(row.others for row in rows)
    if others > QUIET:
        parts.append(f"**Not a quiet machine:** other work had up to {others:.0%} of it; every time here is too long.")
    return parts


def planned(replica: Capacity, load: float, price: float) -> str:
    """Return the replicas, the network and the cost of each of `LOADS`."""
    header = (
        f"images/s | replicas of {replica.slots} CPUs | left when a zone of {ZONES} fails | load then | CPUs of nginx "
        "| network, Gbit/s | cost per hour | cost per million images"
    )
    rows = []
    for rate in LOADS:
        chosen = plan(rate, replica.slots / replica.processor_seconds, load, ZONES)
        balancers = rate * replica.balancer_seconds
        cost = (chosen.replicas * replica.slots + balancers) * price
        rows.append(
            f"{rate:,.0f} | {chosen.replicas:,} | {chosen.remaining:,} | {chosen.load_then:.0%} | {balancers:,.1f} "
            f"| {rate * replica.request_bytes * 8 / 1e9:,.2f} | {cost:,.2f} | {cost / (rate * 3600 / 1e6):.4f}"
        )
    return table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
