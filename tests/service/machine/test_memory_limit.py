"""The container's memory limit, read from made-up control group trees, and the limits derived from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.machine.memory_limit import memory_left, memory_limit
from service.settings.fields import Settings, within_memory

V2 = {"proc/self/cgroup": "0::/pods/seven/box"}
V1 = {"proc/self/cgroup": "9:memory:/docker/box\n4:cpu,cpuacct:/\n1:name=systemd:/x"}
STAT_V2 = "anon 300\ninactive_file 40\nactive_file 100"
NO_LIMIT_V1 = "9223372036854771712"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({**V2, "sys/fs/cgroup/pods/seven/box/memory.max": "536870912"}, 2**29),
        ({**V2, "sys/fs/cgroup/pods/seven/box/memory.max": "max"}, None),
        ({**V2, "sys/fs/cgroup/pods/seven/box/memory.max": "max", "sys/fs/cgroup/pods/memory.max": "7"}, 7),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "900"}, 900),
        ({**V1, "sys/fs/cgroup/memory/docker/box/memory.limit_in_bytes": "600"}, 600),
        ({**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1}, None),
        ({**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "500"}, 500),
        ({}, None),
    ],
)
def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert memory_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("limit", "bodies", "pixels"),
    [
        (None, 2**28, 50_000_000),
        (2**34, 2**28, 50_000_000),
        (2**30, 2**30 // 5, 2**25),
        (2**29, 2**29 // 5, 2**24),
    ],
)
def test_what_requests_may_hold_shrinks_with_the_memory(limit: int | None, bodies: int, pixels: int) -> None:
    settings = within_memory(Settings(), limit)
    assert (settings.max_body_bytes_in_flight, settings.max_decoding_pixels) == (bodies, pixels)


def test_a_setting_below_the_share_stays_and_one_body_always_fits() -> None:
    small = Settings(max_body_bytes=4096, max_body_bytes_in_flight=2048, max_decoding_pixels=10)
    settings = within_memory(small, 2**30)
    assert (settings.max_body_bytes_in_flight, settings.max_decoding_pixels) == (2048, 10)
    assert within_memory(Settings(), 2**25).max_body_bytes_in_flight == Settings().max_body_bytes


OWN, ABOVE = "sys/fs/cgroup/pods/seven/box", "sys/fs/cgroup/pods"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({**V2, f"{OWN}/memory.max": "900", f"{OWN}/memory.current": "500"}, 400),
        ({**V2, f"{OWN}/memory.max": "900", f"{OWN}/memory.current": "500", f"{OWN}/memory.stat": STAT_V2}, 440),
        (
            {
                **V2,
                f"{OWN}/memory.max": "900",
                f"{OWN}/memory.current": "500",
                f"{ABOVE}/memory.max": "950",
                f"{ABOVE}/memory.current": "900",
            },
            50,
        ),
        ({**V2, f"{OWN}/memory.max": "max", f"{OWN}/memory.current": "500"}, None),
        (
            {
                **V1,
                "sys/fs/cgroup/memory/docker/box/memory.limit_in_bytes": "600",
                "sys/fs/cgroup/memory/docker/box/memory.usage_in_bytes": "500",
                "sys/fs/cgroup/memory/docker/box/memory.stat": "inactive_file 1\ntotal_inactive_file 70",
            },
            170,
        ),
        ({}, None),
    ],
)
def test_what_is_left_is_the_least_on_the_way_up_without_pages_that_give_way(
    tmp_path: Path, files: dict[str, str], left: int | None
) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert memory_left(tmp_path) == left
