from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.contract.runtime.gpu.cuda import CUDA
from service.contract.runtime.opening import Runtime
from tests.service.live_server import LiveServer, running
from tests.service.tiny_bundles import write_bundle


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over two versions of `tiny` (version 2 calls everything blue) and one broken bundle."""
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny", version="1")
    write_bundle(folder, "tiny", version="2", bias=(0.0, 0.0, 100.0))
    write_bundle(folder, "other")
    spoiled = write_bundle(folder, "spoiled") / "forward.onnx"
    content = bytearray(spoiled.read_bytes())
    content[len(content) // 2] ^= 1
    spoiled.write_bytes(content)
    with running(folder, default_model="other", max_image_pixels=1_000_000, max_images=8) as server:
        yield server


@pytest.fixture
def client(tiny_server: LiveServer) -> Iterator[httpx.Client]:
    with tiny_server.client() as client:
        yield client


@pytest.fixture
def without_cuda() -> None:
    """Skip the test where a GPU can be used."""
    if Runtime("auto").provider == CUDA:
        pytest.skip("there is a GPU here")
