from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.live_server import LiveServer, running
from tests.service.tiny_bundles import write_bundle

MAX_BODY = 20_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over the bundle `tiny` that takes four images, and 20 kB, in one request."""
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, max_images=4, max_body_bytes=MAX_BODY) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
