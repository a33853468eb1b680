"""Promise 6: one CPU of many, by a container's quota (or by affinity where none can be set), without a setting."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.bundles.copies import install
from bench.harness.client import post
from bench.harness.figures import Figure, at_least, at_most
from bench.harness.load import closed_loop, throughput
from bench.harness.paths import CAT, SHIPPED
from bench.harness.server import Server, service

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 100_000
"""Microseconds of a quota's period."""
IDLE_SECONDS = 10.0
ROUNDS, SECONDS = 3, 2.0
CLIENTS = 16
HAND_TUNED = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Run threads and decode threads."""


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Measure the CPU time while idle, then the rate without a setting beside hand-tuned ones."""
    with tempfile.TemporaryDirectory() as folder:
        bundles = Path(folder)
        install(SHIPPED / "resnet20", bundles / "resnet20")
        with limited(bundles) as (server, how):
            yield Figure("limit", how)
            time.sleep(1.0)
            before = server.processor_seconds()
            time.sleep(IDLE_SECONDS * scale)
            used = server.processor_seconds() - before
            yield at_most("CPU while idle, of one CPU", 100 * used / (IDLE_SECONDS * scale), 1.0, "%")
        yield from tuned(bundles, scale)


def tuned(bundles: Path, scale: float) -> Iterator[Figure]:
    rates: dict[tuple[int, int] | None, list[float]] = {}
    for _ in range(max(1, round(ROUNDS * scale))):
        for threads in (None, *HAND_TUNED):
            rates.setdefault(threads, []).append(rate(bundles, threads, scale))
    medians = {threads: statistics.median(values) for threads, values in rates.items()}
    best = max(HAND_TUNED, key=lambda threads: medians[threads])
    yield Figure(f"without a setting, {CLIENTS} clients", f"{medians[None]:.0f} requests/s")
    yield Figure(f"best by hand: {best[0]} run and {best[1]} decode threads", f"{medians[best]:.0f} requests/s")
    yield at_least("of the best by hand", 100 * medians[None] / medians[best], 95, "%")


def rate(bundles: Path, threads: tuple[int, int] | None, scale: float) -> float:
    """Return requests per second at so many threads, or without a setting."""
    flags = () if threads is None else ("--run-threads", str(threads[0]), "--decode-threads", str(threads[1]))
    request = [post("/predict", CAT.read_bytes())]
    with limited(bundles, *flags) as (server, _):
        closed_loop(server.port, request, CLIENTS, 0.5 * scale)
        return throughput(closed_loop(server.port, request, CLIENTS, SECONDS * scale))


@contextmanager
def limited(bundles: Path, *flags: str) -> Iterator[tuple[Server, str]]:
    """Run the service under the limit, and yield it with the limit in words; the load generator is not under it."""
    with ExitStack() as stack:
        group, home = quota_group()
        if group is None:
            usual = os.sched_getaffinity(0)
            enter, leave = partial(os.sched_setaffinity, 0, {min(usual)}), partial(os.sched_setaffinity, 0, usual)
        else:
            stack.callback(group.rmdir)
            enter, leave = partial(join, group), partial(join, home)
        enter()  # what this process starts is under its limit, and stays there
        try:
            server = stack.enter_context(service(bundles, *flags))
        finally:
            leave()
        yield server, "affinity to one CPU" if group is None else f"quota of one CPU of {os.cpu_count()}, {group}"


def join(group: Path) -> None:
    """Put this process into a control group."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def quota_group() -> tuple[Path | None, Path]:
    """Make a control group with the quota of one CPU, if one can be made; return it and this process's own group."""
    version_2 = (GROUPS / "cgroup.controllers").exists()
    home = own_group(GROUPS if version_2 else GROUPS / "cpu", "" if version_2 else "cpu")
    group = home / f"bench-promises-{os.getpid()}"
    if version_2:
        limits = {"cpu.max": f"{PERIOD} {PERIOD}"}
    else:
        limits = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(PERIOD)}
    try:
        group.mkdir()
        for name, limit in limits.items():
            (group / name).write_text(limit)
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return None, home
    return group, home


def own_group(mount: Path, controller: str) -> Path:
    """Return the folder of the control group that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return mount / path.lstrip("/")
    return mount
