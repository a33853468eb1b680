from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.live_server import LiveServer, running

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def server() -> Iterator[LiveServer]:
    """A real server over the bundles that we ship."""
    with running(ROOT / "models" / "bundles") as server:
        yield server


@pytest.fixture(scope="session")
def photograph() -> bytes:
    return (ROOT / "tests" / "photographs" / "cat.jpg").read_bytes()
