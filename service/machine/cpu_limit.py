"""Count the CPUs that this process may really use, by its affinity and the container's quota (cgroup v1 and v2)."""

from __future__ import annotations

import os
from pathlib import Path

from service.machine.control_group import ancestors, own_group, read


def available_cpus(root: Path = Path("/")) -> float:
    """Return the CPUs that affinity and quota allow, e.g. 0.5 for half a CPU; at least 0.01.

    Any ancestor of our control group may have a quota too; the tightest one counts.
    """
    quota = _quota_v2(root)
    if quota is None:
        quota = _quota_v1(root)
    affinity = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    return max(0.01, affinity if quota is None else min(affinity, quota))


def run_threads(cpus: float) -> int:
    """Return the runs at a time: rounded down, because a run that waits for the next quota period is late."""
    return max(1, int(cpus))


def decode_threads(cpus: float) -> int:
    """Return the images decoded at a time: rounded up."""
    return max(1, -int(-cpus // 1))


def _quota_v2(root: Path) -> float | None:
    """Return the least `cpu.max` from our group upwards; None without a limit, or without version 2."""
    group = own_group(root, controller="")
    mount = root / "sys/fs/cgroup"
    if group is None or not (mount / "cgroup.controllers").exists():
        return None
    limits = []
    for directory in ancestors(mount, group):
        words = read(directory / "cpu.max").split()
        if len(words) == 2 and words[0] != "max" and float(words[1]) > 0:
            limits.append(float(words[0]) / float(words[1]))
    return min(limits, default=None)


def _quota_v1(root: Path) -> float | None:
    """Return the least cfs_quota / cfs_period from our group upwards; None without a limit. A quota of −1 is none."""
    group = own_group(root, controller="cpu")
    if group is None:
        return None
    limits = []
    for mount in (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"):
        for directory in ancestors(mount, group):
            quota, period = read(directory / "cpu.cfs_quota_us"), read(directory / "cpu.cfs_period_us")
            if quota and period and float(quota) > 0 and float(period) > 0:
                limits.append(float(quota) / float(period))
    return min(limits, default=None)
