from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.live_server import LiveServer, running
from tests.service.tiny_bundles import write_bundle


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over the bundle `tiny`."""
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder) as server:
        yield server
