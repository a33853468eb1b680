"""Promise 6: one CPU of many, by a container's quota (or by affinity where none can be set), without a setting."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.promises.bundles import IMAGES, SHIPPED, install
from bench.promises.findings import Finding, at_least, at_most
from bench.promises.load import closed_loop, post, throughput
from bench.promises.metrics import all_ready, wait_until
from bench.replicas import Replica, replicas

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 100_000
IDLE_SECONDS = 10.0
ROUNDS, SECONDS = 3, 2.0
CLIENTS = 16
HAND_TUNED = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Run threads and decode threads."""


@contextmanager
def limited(bundles: Path, *flags: str) -> Iterator[tuple[Replica, str]]:
    """The service under the limit, and the limit in words; the load generator is not under it."""
    with ExitStack() as stack:
        group, home = _group()
        if group is not None:
            stack.callback(group.rmdir)
        with _within(group, home):
            (service,) = stack.enter_context(replicas(1, bundles, "--log-level", "error", *flags))
        wait_until(lambda: all_ready(service.port))
        yield service, "affinity to one CPU" if group is None else f"quota of one CPU of {os.cpu_count()}, {group}"


@contextmanager
def _within(group: Path | None, home: Path) -> Iterator[None]:
    """This process in `group` for a while, so that what it starts is in it; without one, on one CPU."""
    if group is None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
        return
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def _group() -> tuple[Path | None, Path]:
    """A new control group with the quota of one CPU, if one can be made, and the group that this process is in."""
    version_2 = (GROUPS / "cgroup.controllers").exists()
    home = _home(GROUPS if version_2 else GROUPS / "cpu", "" if version_2 else "cpu")
    group = home / f"bench-promises-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None, home
    try:
        if version_2:
            (group / "cpu.max").write_text(f"{PERIOD} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(PERIOD))
    except OSError:
        group.rmdir()
        return None, home
    return group, home


def _home(mount: Path, controller: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return mount / path.lstrip("/")
    return mount


def measure() -> Iterator[Finding]:
    """Idle CPU, then the service without a setting beside hand-tuned ones."""
    with tempfile.TemporaryDirectory() as folder:
        bundles = Path(folder)
        install(SHIPPED / "resnet20", bundles / "resnet20")
        yield from idle(bundles)
        yield from tuned(bundles)


def idle(bundles: Path) -> Iterator[Finding]:
    with limited(bundles) as (service, how):
        yield Finding("limit", how)
        process = psutil.Process(service.process.pid)
        time.sleep(1.0)
        before = sum(process.cpu_times()[:2])
        time.sleep(IDLE_SECONDS)
        used = sum(process.cpu_times()[:2]) - before
    yield at_most("CPU while idle, of one CPU", 100 * used / IDLE_SECONDS, 1.0, "%")


def tuned(bundles: Path) -> Iterator[Finding]:
    rates: dict[tuple[int, int] | None, list[float]] = {}
    for _ in range(ROUNDS):
        for threads in (None, *HAND_TUNED):
            rates.setdefault(threads, []).append(_rate(bundles, threads))
    medians = {threads: statistics.median(values) for threads, values in rates.items()}
    best = max(HAND_TUNED, key=lambda threads: medians[threads])
    yield Finding(f"without a setting, {CLIENTS} clients", f"{medians[None]:.0f} requests/s")
    yield Finding(f"best by hand: {best[0]} run and {best[1]} decode threads", f"{medians[best]:.0f} requests/s")
    yield at_least("of the best by hand", 100 * medians[None] / medians[best], 95, "%")


def _rate(bundles: Path, threads: tuple[int, int] | None) -> float:
    flags = () if threads is None else ("--run-threads", str(threads[0]), "--decode-threads", str(threads[1]))
    request = [post("/predict", (IMAGES / "cat.jpg").read_bytes())]
    with limited(bundles, *flags) as (service, _):
        asyncio.run(closed_loop(service.port, request, CLIENTS, 0.5))
        return throughput(asyncio.run(closed_loop(service.port, request, CLIENTS, SECONDS)))
