"""A model in the cache of the Hugging Face hub, whose files are links to blobs, is taken as it lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.__main__ import main
from tests.export.importing.folders.producers import CLASSES, COMMIT, hub_cache
from tests.service.live_server import best_label, picture
from tests.service.sources.served_process import begin, served

SNAPSHOT = f"snapshots/{COMMIT}"
DATA = f"{SNAPSHOT}/onnx/model.onnx_data"
LEADS_OUT = "its external data 'model.onnx_data' lies outside the model's folder"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    return hub_cache(tmp_path / "hub")


def linked_to(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


def another_repository(repository: Path) -> Path:
    """The blob of another repository in the same cache."""
    other = repository.parent / "models--someone--else" / "blobs"
    other.mkdir(parents=True)
    return Path(shutil.copy(repository / DATA, other / "0"))


def file_of_the_user(repository: Path) -> Path:
    return Path(shutil.copy(repository / DATA, repository.parent / "secret"))


@pytest.mark.parametrize("place", [".", SNAPSHOT, f"{SNAPSHOT}/onnx"])
def test_it_is_imported_and_checked(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    assert main(["import", str(repository / place), "--out", str(tmp_path / "bundles")]) == 0
    assert json.loads((tmp_path / "bundles/vit-tiny/bundle.json").read_text())["labels"] == list(CLASSES)
    assert main(["check", str(repository / place), "--images", "16"]) == 0
    assert capsys.readouterr().out.partition("vit-tiny@1: healthy. ")[2]


def test_it_is_served(repository: Path, tmp_path: Path) -> None:
    with served(tmp_path / "cache", repository) as server:
        assert set(server.digests()) == {"vit-tiny@1"}
        answer = server.client.post("/predict", content=picture("red"))
        assert best_label(answer) in CLASSES


@pytest.mark.parametrize("target", [another_repository, file_of_the_user])
def test_a_link_that_leads_out_of_the_repository_is_refused(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: Callable[[Path], Path]
) -> None:
    linked_to(repository / DATA, target(repository))
    for words in (["import", str(repository), "--out", str(tmp_path / "bundles")], ["check", str(repository)]):
        assert main(words) == 2
        assert LEADS_OUT in capsys.readouterr().err
    with begin(tmp_path / "cache", repository) as serving:
        assert serving.stderr is not None
        assert LEADS_OUT in serving.stderr.read()
    assert serving.returncode == 2
    assert not (tmp_path / "bundles").exists()
