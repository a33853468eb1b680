"""Limits that a cluster sets: memory under floods of large pictures, and processors."""

from __future__ import annotations

import re
import time

import pytest

from tests.container.client import ask, closed_loop, status_counts
from tests.container.conftest import Finding
from tests.container.engine import Container, Engine
from tests.container.pictures import noisy_jpeg, smooth_jpeg, webp_bomb

pytestmark = pytest.mark.container

CLIENTS = 40
"""Many more than the number of pictures that are decoded or held at once."""
FLOOD_SECONDS = 15


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ("512m", "12-megapixel photographs"),
        ("512m", "12 MB photographs"),
        ("1g", "12 MB photographs and 16-megapixel WebP bombs"),
    ],
)
def test_a_flood_is_served_or_refused_but_never_fatal(
    engine: Engine, image: str, finding: Finding, limit: str, what: str
) -> None:
    """512 MiB is what the manifests request, and 1 GiB is their limit."""
    bodies = {
        "12-megapixel photographs": [smooth_jpeg(4000, 3000)],
        "12 MB photographs": [noisy_jpeg(4000, 3000)],
        "12 MB photographs and 16-megapixel WebP bombs": [noisy_jpeg(4000, 3000), webp_bomb(4000, 4000)],
    }[what]
    with engine.serving(image, f"--memory={limit}", f"--memory-swap={limit}") as service:
        with closed_loop(service.port, CLIENTS, bodies) as responses:
            time.sleep(FLOOD_SECONDS)
        live = ask(service.port, "GET", "/health/live").status
        peak = peak_memory(service.container)
        state = service.container.state()
    killed = bool(state.get("OOMKilled")) or state["Status"] != "running"
    finding(
        f"{CLIENTS} clients send {what} under a {limit} limit",
        found=f"{status_counts(responses)}; peak {peak}; {'killed' if killed else 'not killed'}; live {live}",
        wanted="200, 503 or 504, not killed, live",
    )
    assert {response.status for response in responses} <= {200, 503, 504}
    assert not killed
    assert live == 200


def peak_memory(container: Container) -> str:
    """Return the peak that the kernel counted for the container's control group, of version 2 or 1."""
    for path in ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"):
        read = container.execute("cat", path)
        if read.returncode == 0:
            return f"{int(read.stdout) / 1e6:.0f} MB with page cache"
    return "not counted by this kernel"


def test_the_number_of_threads_follows_the_quota_of_the_container(engine: Engine, image: str, finding: Finding) -> None:
    limited, unlimited = (threads_when_busy(engine, image, option) for option in ("--cpus=1", "--cpus=0"))
    finding(
        "threads with a limit of 1 CPU, and without one",
        found=f"{limited} and {unlimited}",
        wanted="fewer with the limit",
    )
    assert limited < unlimited


def threads_when_busy(engine: Engine, image: str, option: str) -> int:
    """Return the number of threads under load, because pools start their threads on demand."""
    with engine.serving(image, option) as service, closed_loop(service.port, 8, [smooth_jpeg(1000, 1000)]):
        time.sleep(2)
        status = service.container.execute("cat", "/proc/1/status").stdout
    found = re.search(r"^Threads:\s*(\d+)$", status, re.MULTILINE)
    assert found is not None
    return int(found.group(1))
