"""How many CPUs this process may really use: affinity, and the container's quota (cgroup v1 and v2)."""

from __future__ import annotations

import os
from pathlib import Path

from service.machine.control_group import ancestors, own_group, read


def available_cpus(root: Path = Path("/")) -> float:
    """CPUs by the tighter of affinity and quota, e.g. 0.5 for half a CPU; at least 0.01.

    A quota may sit on any ancestor of our control group, so the whole way up is looked at.
    """
    quota = _quota_v2(root)
    if quota is None:
        quota = _quota_v1(root)
    affinity = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    return max(0.01, affinity if quota is None else min(affinity, quota))


def run_threads(cpus: float) -> int:
    """Runs at a time: rounded down, because a run that waits for the next quota period is a late one."""
    return max(1, int(cpus))


def decode_threads(cpus: float) -> int:
    """Images decoded at a time: rounded up."""
    return max(1, -int(-cpus // 1))


def _quota_v2(root: Path) -> float | None:
    """The least `cpu.max` from our group up; None if there is no limit, or no version 2."""
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
    """The least cfs_quota/cfs_period from our group up; −1 is no limit."""
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
