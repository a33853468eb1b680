"""The queueing model beside two real replicas behind a real nginx.

The load generator, nginx and the replicas share the machine's cores. So that this does not disturb what is
compared, the model is checked on a classifier of many milliseconds per image (`bench/bundles/heavy.py`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil

from bench.bundles import heavy
from bench.harness.client import Reply, post
from bench.harness.load import closed_loop, open_loop, throughput
from bench.harness.proxy import balancer
from bench.harness.server import Server, services
from bench.scaling.queueing import RunTime, expected, simulate
from bench.scaling.replicas import ONE_SLOT, require_success

LARGEST = 8
LOADS = (0.2, 0.4, 0.6)
STRETCHES = 10
FIXED_BATCH = (*ONE_SLOT, "--max-batch", str(LARGEST), "--warm-up", "false")
"""One slot whose largest batch is known beforehand, not what the warm-up happens to measure."""
PAUSE = 0.03
"""Seconds between requests that find nobody before them. A run that finds the processor idle takes longer (cold caches)
than one behind another, and at the loads compared most runs do."""


@dataclass(frozen=True)
class Row:
    """Mean seconds at one load."""

    load: float
    served: float
    """From a request's arrival at a replica to the end of its run, by the replica's own clock."""
    error: float
    """Standard error of `served`, from the means of ten stretches of the load."""
    model: float
    simulated: float
    whole: float
    """From the client's request to the client's answer, through nginx."""
    busy: float
    """Share of all processor time that replicas, nginx and client had meanwhile."""
    others: float
    """Share that anything else had; where it is large, the row says little."""


def compare(image: bytes, seconds: float) -> tuple[RunTime, float, list[Row]]:
    """Send Poisson arrivals to two replicas of one slot behind nginx, each request to either at random.

    Returns T(b) and the rows, for which the model is told T(b) and the rate and nothing else, and between them the
    mean seconds that client, nginx and network add to an image that finds nobody before it.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = post(f"/predict?model={heavy.write(Path(folder)).name}", image)
        with services(2, Path(folder), *FIXED_BATCH) as pair, balancer([each.port for each in pair]) as proxy:
            for replica in pair:
                closed_loop(replica.port, [request], 4, min(2.0, seconds))
            run = run_time(pair[0], request, seconds)
            alone = require_success(closed_loop(proxy.port, [request], 1, seconds / 2, pause=PAUSE))
            around = fmean(reply.seconds - served(reply) for reply in alone)
            return run, around, [row(load, run, pair, proxy, request, 3 * seconds) for load in LOADS]


def run_time(replica: Server, request: bytes, seconds: float) -> RunTime:
    """Return T(b): T(1) by one client that pauses between requests, the time per image by saturated runs."""
    alone = require_success(closed_loop(replica.port, [request], 1, seconds / 2, pause=PAUSE))
    single = fmean(served(reply) for reply in alone)
    saturated = require_success(closed_loop(replica.port, [request], 4 * LARGEST, seconds / 2))
    per_image = min(single, 1 / throughput(saturated))
    return RunTime(setup=single - per_image, per_image=per_image, largest=LARGEST)


def row(load: float, run: RunTime, pair: Sequence[Server], proxy: Server, request: bytes, seconds: float) -> Row:
    """Measure one load, and compute what the model and the simulation say of it."""
    rate = load * len(pair) * run.capacity

    def our_seconds() -> float:
        return sum(server.processor_seconds() for server in (*pair, proxy)) + time.process_time()

    before, machine_before, began = our_seconds(), machine_seconds(), time.monotonic()
    replies = require_success(open_loop(proxy.port, [request], rate, seconds))
    available = (time.monotonic() - began) * len(os.sched_getaffinity(0))
    used, machine_used = our_seconds() - before, machine_seconds() - machine_before
    times = np.array([served(reply) for reply in replies])
    means = np.array([stretch.mean() for stretch in np.array_split(times, min(STRETCHES, len(times)))])
    return Row(
        load,
        served=float(times.mean()),
        error=float(means.std(ddof=1) / np.sqrt(len(means))),
        model=expected(rate / len(pair), run).latency,
        simulated=float(simulate(rate, run, replicas=len(pair)).mean()),
        whole=fmean(reply.seconds for reply in replies),
        busy=used / available,
        others=max(0.0, machine_used - used) / available,
    )


def machine_seconds() -> float:
    """Return the processor time of everything on this machine so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def served(reply: Reply) -> float:
    """Return the seconds from arrival to the end of the run: all stages but writing the answer."""
    return sum(value for name, value in reply.stages.items() if name != "serialize")
