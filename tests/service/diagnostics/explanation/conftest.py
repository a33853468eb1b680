from __future__ import annotations

from pathlib import Path

import pytest

from service.contract.runtime.opening import Runtime
from service.offline.model import OfflineModel
from tests.service.explained_bundles import write_explained


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`net` with classes that exclude each other, `labels` with independent ones."""
    folder = tmp_path_factory.mktemp("explained") / "bundles"
    write_explained(folder, "net")
    write_explained(folder, "labels", independent=True)
    return folder


@pytest.fixture(scope="session")
def model(bundles: Path) -> OfflineModel:
    return OfflineModel(bundles / "net", Runtime("cpu"))
