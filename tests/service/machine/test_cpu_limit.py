"""The number of CPUs by affinity and by the container's quota, read from made-up control group trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.machine.cpu_limit import available_cpus, decode_threads, run_threads


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


V2 = {"sys/fs/cgroup/cgroup.controllers": "cpu memory", "proc/self/cgroup": "0::/pods/seven/box"}
V1 = {"proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/docker/box\n1:name=systemd:/x"}


def v2(**limits: str) -> dict[str, str]:
    """`cpu.max` of our group (`box`) and those above it."""
    directories = {"box": "pods/seven/box/", "seven": "pods/seven/", "root": ""}
    return {**V2, **{f"sys/fs/cgroup/{directories[name]}cpu.max": limit for name, limit in limits.items()}}


def v1(quota: str, directory: str) -> dict[str, str]:
    place = f"sys/fs/cgroup/{directory}"
    return {**V1, f"{place}/cpu.cfs_quota_us": quota, f"{place}/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        (v2(box="50000 100000"), 0.5),
        (v2(box="max 100000"), None),
        (v2(box="max 100000", seven="75000 100000"), 0.75),
        (v2(root="20000 100000"), 0.2),
        ({**v2(root="30000 100000"), "proc/self/cgroup": "0::/../../box"}, 0.3),
        (v1("60000", "cpu/docker/box"), 0.6),
        (v1("-1", "cpu/docker/box"), None),
        (v1("10000", "cpu,cpuacct"), 0.1),
        ({}, None),
    ],
)
def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    affinity = float(len(os.sched_getaffinity(0)))
    expected = affinity if quota is None else min(affinity, quota)
    assert available_cpus(tree(tmp_path, files)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cpus", "runs", "decodings"), [(0.1, 1, 1), (1.0, 1, 1), (1.5, 1, 2), (2.0, 2, 2), (3.9, 3, 4)]
)
def test_runs_are_rounded_down_and_decoding_up(cpus: float, runs: int, decodings: int) -> None:
    assert (run_threads(cpus), decode_threads(cpus)) == (runs, decodings)
