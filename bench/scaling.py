"""Measure one replica, check the queueing model on two real ones, and plan for any load: `python -m bench.scaling`.

Writes the generated part of docs/scaling.md in about three minutes. Needs nginx, and a machine with nothing
else to do: the load generator, nginx and the replicas share its cores. So that this does not disturb what is
compared, the model is checked on a classifier of many milliseconds per image (`bench.heavy`), beside which the
others cost little; the capacity and the plan are of a shipped one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from bench import heavy
from bench.page import replace_section
from bench.queueing import RunTime, expected, highest_load, plan, simulate
from bench.replicas import Answer, Replica, closed_loop, nginx, open_loop, prediction, replicas

ROOT = Path(__file__).parents[1]
COMMAND = "make bench-scaling"
LARGEST = 8
ONE_SLOT = ("--run-threads", "1", "--decode-threads", "1")
FIXED_BATCH = (*ONE_SLOT, "--max-batch", str(LARGEST), "--warm-up", "false")
"""One slot whose largest batch is known beforehand, not what the warm-up happens to measure."""
LOADS = (1e3, 1e5, 1e7)
ZONES = 3
PAUSE = 0.03
"""Seconds. A run that finds the processor idle takes longer (cold caches) than one behind another, and at the loads
compared most runs do."""


@dataclass(frozen=True)
class Measured:
    """One replica with as many run slots as the machine has CPUs, and one nginx in front."""

    slots: int
    capacity: float
    """Images per second at saturation, one image per request."""
    processor_ms: float
    """CPU milliseconds of the replica per image."""
    balancer_ms: float
    """CPU milliseconds of nginx per request."""
    request_bytes: int


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--bundles", type=Path, default=ROOT / "models/bundles")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--image", type=Path, default=ROOT / "tests/images/cat.jpg")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="of each measurement; the comparison's three take three times as long (default: %(default)s)",
    )
    parser.add_argument("--deadline", type=float, default=0.05, help="seconds that 99 %% must meet")
    parser.add_argument("--highest-load", type=float, default=0.7, help="that is planned for (default: %(default)s)")
    parser.add_argument("--cpu-hour-price", type=float, default=0.04, help="an assumption, not a quotation")
    parser.add_argument("--print", action="store_true", help="leave docs/scaling.md alone")
    options = parser.parse_args(arguments)
    request = prediction(options.image.read_bytes(), options.model)
    measured = measure(options.bundles, request, options.seconds)
    comparison = compare(options.image.read_bytes(), options.seconds)
    killed = kill_one(options.bundles, request, options.seconds)
    text = report(measured, comparison, killed, options)
    print(text)
    if not options.print:
        replace_section(ROOT / "docs/scaling.md", COMMAND, text)
    return 1 if killed.failed else 0


def measure(bundles: Path, request: bytes, seconds: float) -> Measured:
    """One replica at saturation behind nginx."""
    slots = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, replicas(1, bundles) as (replica,):
        asyncio.run(closed_loop(replica.port, request, 8, 2.0))
        before, began = replica.processor_seconds(), time.monotonic()
        direct = asyncio.run(closed_loop(replica.port, request, 32, seconds))
        capacity = len(direct) / (time.monotonic() - began)
        processor = (replica.processor_seconds() - before) / len(direct)
        _require_success(direct)
        with nginx(Path(folder), [replica.port]) as balancer:
            before = balancer.processor_seconds()
            through = asyncio.run(closed_loop(balancer.port, request, 32, seconds / 2))
            balanced = (balancer.processor_seconds() - before) / len(through)
            _require_success(through)
    return Measured(slots, capacity, processor * 1e3, balanced * 1e3, len(request))


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
    """Share that anything else had; what is measured then says little."""


@dataclass(frozen=True)
class Comparison:
    """Two replicas of one slot; the model is told T(b) and the rate, nothing else."""

    run: RunTime
    around: float
    """Mean seconds that client, nginx and network add to an image that finds nobody before it."""
    rows: tuple[Row, ...]


def compare(image: bytes, seconds: float) -> Comparison:
    """Poisson arrivals at two replicas behind nginx, each request to either at random."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "bundles").mkdir()
        name = heavy.write(folder / "bundles").name
        request = prediction(image, name)
        pair = stack.enter_context(replicas(2, folder / "bundles", *FIXED_BATCH))
        for replica in pair:
            asyncio.run(closed_loop(replica.port, request, 4, 2.0))
        run = run_time(pair[0], request, seconds)
        balancer = stack.enter_context(nginx(folder, [replica.port for replica in pair]))
        alone = asyncio.run(closed_loop(balancer.port, request, 1, seconds / 2, PAUSE))
        _require_success(alone)
        around = float(np.mean([answer.seconds - _served(answer) for answer in alone]))
        rows = [_row(load, run, pair, balancer, request, 3 * seconds) for load in (0.2, 0.4, 0.6)]
    return Comparison(run, around, tuple(rows))


def _row(load: float, run: RunTime, pair: Sequence[Replica], balancer: Replica, request: bytes, seconds: float) -> Row:
    rate = load * 2 * run.capacity

    def processor_seconds() -> float:
        return sum(process.processor_seconds() for process in (*pair, balancer)) + time.process_time()

    before, machine_before, began = processor_seconds(), _machine_seconds(), time.monotonic()
    answers = asyncio.run(open_loop(balancer.port, request, rate, seconds))
    available = (time.monotonic() - began) * len(os.sched_getaffinity(0))
    used, machine_used = processor_seconds() - before, _machine_seconds() - machine_before
    _require_success(answers)
    served = np.array([_served(answer) for answer in sorted(answers, key=lambda answer: answer.began)])
    stretches = np.array([stretch.mean() for stretch in np.array_split(served, 10)])
    return Row(
        load,
        served=float(served.mean()),
        error=float(stretches.std(ddof=1) / np.sqrt(len(stretches))),
        model=expected(rate / 2, run).latency,
        simulated=float(simulate(rate, run, replicas=2).mean()),
        whole=float(np.mean([answer.seconds for answer in answers])),
        busy=used / available,
        others=max(0.0, machine_used - used) / available,
    )


def _machine_seconds() -> float:
    """Processor time of everything on this machine so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def run_time(replica: Replica, request: bytes, seconds: float) -> RunTime:
    """T(1) from one client that pauses between requests, and the time per image of saturated runs, by Server-Timing."""
    alone = asyncio.run(closed_loop(replica.port, request, 1, seconds / 2, PAUSE))
    _require_success(alone)
    single = float(np.mean([_served(answer) for answer in alone]))
    before = time.monotonic()
    saturated = asyncio.run(closed_loop(replica.port, request, 4 * LARGEST, seconds / 2))
    _require_success(saturated)
    per_image = min(single, (time.monotonic() - before) / len(saturated))
    return RunTime(setup=single - per_image, per_image=per_image, largest=LARGEST)


def _served(answer: Answer) -> float:
    """Seconds from arrival to the end of the run: all stages but writing the answer."""
    return sum(value for name, value in answer.stages.items() if name != "serialize")


def _require_success(answers: Sequence[Answer]) -> None:
    statuses = Counter(answer.status for answer in answers)
    if set(statuses) != {200}:
        raise SystemExit(f"expected only 200, found {dict(statuses)}: does something else use the processors?")


@dataclass(frozen=True)
class Killed:
    """What clients saw while one of two replicas was killed under load."""

    requests: int
    failed: int
    longest: float


def kill_one(bundles: Path, request: bytes, seconds: float) -> Killed:
    """SIGKILL to one of two replicas in the middle of a load of 16 clients."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pair = stack.enter_context(replicas(2, bundles, *ONE_SLOT))
        balancer = stack.enter_context(nginx(folder, [replica.port for replica in pair]))

        async def under_load() -> list[Answer]:
            asyncio.get_running_loop().call_later(seconds / 2, pair[0].process.kill)
            return await closed_loop(balancer.port, request, 16, seconds)

        answers = asyncio.run(under_load())
    failed = sum(answer.status != 200 for answer in answers)
    return Killed(len(answers), failed, max(answer.seconds for answer in answers))


def report(measured: Measured, comparison: Comparison, killed: Killed, options: argparse.Namespace) -> str:
    """Markdown, figures only; the words around them are written by hand."""
    effective = planning_run_time(measured)
    load = highest_load(effective, measured.slots, options.deadline)
    return "\n".join(
        [
            f"Measured on {_machine()}, {options.model}, one {options.image.name} per request "
            f"({measured.request_bytes} bytes).",
            "",
            "| one replica | |",
            "|---|---|",
            f"| run slots | {measured.slots} |",
            f"| images/s at saturation (load generator on the same cores) | {measured.capacity:.0f} |",
            f"| CPU milliseconds per image, all of the service | {measured.processor_ms:.2f} |",
            f"| images per CPU-second | {1e3 / measured.processor_ms:.0f} |",
            f"| CPU milliseconds per request, nginx | {measured.balancer_ms:.3f} |",
            f"| highest load at which 99 % take ≤ {options.deadline * 1e3:.0f} ms (simulated) | {load:.0%} |",
            "",
            *_comparison_lines(comparison),
            "",
            f"One of two replicas killed (SIGKILL) under a load of 16 clients: {killed.requests} requests, "
            f"{killed.failed} failed, the longest took {killed.longest * 1e3:.0f} ms.",
            "",
            f"| images/s | replicas of {measured.slots} CPUs | left when a zone of {ZONES} fails | load then "
            "| CPUs of nginx | network, Gbit/s | cost per hour | cost per million images |",
            "|---|---|---|---|---|---|---|---|",
            *(_plan_row(rate, measured, min(load, options.highest_load), options.cpu_hour_price) for rate in LOADS),
            "",
            f"Cost: {options.cpu_hour_price} per CPU-hour (an assumption), of replicas and nginx, without discounts.",
        ]
    )


def _comparison_lines(comparison: Comparison) -> list[str]:
    run = comparison.run
    return [
        f"Two replicas of one slot behind nginx, a classifier of {run.seconds(1) * 1e3:.1f} ms per image, batches of "
        f"up to {run.largest}: T(b) = {run.setup * 1e3:.2f} ms + b × {run.per_image * 1e3:.2f} ms. Client, nginx and "
        f"network add {comparison.around * 1e3:.2f} ms to an image that finds nobody before it.",
        "",
        "| load | at the replica, measured | model | simulation | measured / model | at the client, measured "
        "| model + what is added | processors in use | by anything else |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.load:.0%} | {row.served * 1e3:.1f} ± {row.error * 1e3:.1f} ms | {row.model * 1e3:.1f} ms "
            f"| {row.simulated * 1e3:.1f} ms | {row.served / row.model:.2f} | {row.whole * 1e3:.1f} ms "
            f"| {(row.model + comparison.around) * 1e3:.1f} ms | {row.busy:.0%} | {row.others:.0%} |"
            for row in comparison.rows
        ),
        *_warning(max(row.others for row in comparison.rows)),
    ]


def _warning(others: float) -> list[str]:
    """A line if the machine was not as quiet as the figures need."""
    if others <= 0.1:
        return []
    return [
        "",
        f"**Not a quiet machine:** other work had up to {others:.0%} of its processors; every time here is too long.",
    ]


def planning_run_time(measured: Measured) -> RunTime:
    """A replica's images at its whole CPU cost: what the event loop takes is charged to the runs."""
    per_image = measured.processor_ms / 1e3
    return RunTime(setup=0.0, per_image=per_image, largest=32)


def _plan_row(rate: float, measured: Measured, load: float, price: float) -> str:
    capacity = measured.slots / (measured.processor_ms / 1e3)
    chosen = plan(rate, capacity, load, ZONES)
    balancer = rate * measured.balancer_ms / 1e3
    cost = (chosen.replicas * measured.slots + balancer) * price
    return (
        f"| {rate:,.0f} | {chosen.replicas:,} | {chosen.remaining:,} | {chosen.load_then:.0%} | {balancer:,.1f} "
        f"| {rate * measured.request_bytes * 8 / 1e9:,.2f} | {cost:,.2f} | {cost / (rate * 3600 / 1e6):.4f} |"
    )


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{len(os.sched_getaffinity(0))} CPUs ({name}, virtual machine)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
