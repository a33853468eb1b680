"""One model that is imported: when an import begins, how it ends, and what it says."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import service.sources.imported
from service.bundles.source import FolderSource, Source
from service.sources.cache import ImportCache
from service.sources.flags import split_flags
from service.sources.imported import ImportedModel
from service.sources.importing import ImportInterrupted, ImportProcess, ImportRefused, check_importer
from service.sources.kinds import SourceError
from service.sources.opening import bundle_at, open_sources
from tests.archives import zipped
from tests.service.bundles.steps import predict
from tests.service.live_server import PATIENCE_SECONDS, best_label, picture, running, wait_until
from tests.service.sources.served_process import import_flags, write_model
from tests.service.tiny_bundles import write_bundle


def silent(_: str) -> None:
    pass


def flags_of(folder: Path) -> list[str]:
    return list(split_flags(import_flags(folder))[1])


def imported(path: Path, say: Callable[[str], None] = silent) -> ImportedModel:
    return ImportedModel(path, flags_of(path.parent), ImportCache(path.parent / "cache", say), ImportProcess(say))


def found(model: ImportedModel) -> list[Path]:
    return [bundle.directory for bundle in model.look(was_found=False).bundles.values()]


class Hold:
    """Keeps an import from beginning, where it says that it begins, until it is let go."""

    def __init__(self) -> None:
        self._released = threading.Event()
        self.let_go = self._released.set

    def __call__(self, _: str) -> None:
        self._released.wait(PATIENCE_SECONDS)


def test_a_file_that_is_being_copied_is_imported_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.sources.imported, "SETTLED_AFTER", 3.0)  # a busy machine copies slowly
    path, said = tmp_path / "net.onnx", list[str]()
    content = write_model(tmp_path / "whole.onnx").read_bytes()
    model = imported(path, said.append)
    for end in range(100, len(content), len(content) // 8):
        path.write_bytes(content[:end])
        time.sleep(0.1)
        assert found(model) == []
    assert said == []
    path.write_bytes(content)
    wait_until(lambda: found(model))
    assert model.refusal is None
    assert said[0] == f"{path}: importing"


def test_half_a_file_is_not_damaged_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    content = write_model(path).read_bytes()
    path.write_bytes(content[:-100])
    model = imported(path)
    model.begin()
    model.wait()
    assert model.bundles == ()
    assert model.refusal is not None
    assert "truncated" in model.refusal
    path.write_bytes(content)
    wait_until(lambda: found(model))
    assert model.refusal is None


def test_an_emptied_cache_is_filled_again(tmp_path: Path) -> None:
    model = imported(write_model(tmp_path / "net.onnx"))
    model.begin()
    model.wait()
    (bundle,) = model.bundles
    bundle.parent.rename(tmp_path / "away")
    wait_until(lambda: found(model) and (found(model)[0] / "bundle.json").exists())


def test_an_import_that_is_killed_says_nothing_about_the_model(tmp_path: Path) -> None:
    model = imported(write_model(tmp_path / "net.onnx"))
    process = model._process

    def kill() -> None:
        wait_until(lambda: process._process is not None)
        assert process._process is not None
        os.kill(process._process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    model.begin()
    model.wait()
    killer.join()
    assert (model.bundles, model.refusal) == ((), None)
    assert model.interruption == "the import was ended by signal 9, perhaps for want of memory"
    assert model.look(was_found=False).unreadable == {model.path: model.interruption}
    wait_until(lambda: found(model))  # it is tried again
    assert model.interruption is None


def test_a_stopped_process_imports_nothing_more(tmp_path: Path) -> None:
    process = ImportProcess(silent)
    process.stop()
    with pytest.raises(ImportInterrupted, match="the service ends"):
        process.run(write_model(tmp_path / "net.onnx"), import_flags(tmp_path), tmp_path / "out")


def test_a_service_that_imports_for_long_is_alive_and_says_what_it_does(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", winner=1)
    bundles = FolderSource(write_bundle(tmp_path / "bundles").parent)
    hold = Hold()
    sources: list[Source] = [imported(path, hold), bundles]
    with running(tmp_path, loaded=False, sources=sources, bundle_poll_seconds=0.1) as server, server.client() as client:
        wait_until(lambda: predict(client, "tiny").status_code == 200)
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, f"1 model is still being imported: {path}.")
        assert client.get("/models").json()["unavailable"] == {str(path): "it is being imported"}
        answer = predict(client, "net")
        assert (answer.status_code, "it is being imported" in answer.json()["detail"]) == (503, True)
        hold.let_go()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert client.get("/models").json()["unavailable"] == {}
        assert best_label(predict(client, "net")) == "bee"


def test_a_service_of_one_model_that_is_being_imported_asks_for_patience(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx")
    hold = Hold()
    with running(tmp_path, loaded=False, sources=[imported(path, hold)]) as server, server.client() as client:
        told = f"{path} is being imported."
        wait_until(lambda: client.get("/health/ready").json()["detail"] == f"No model is served. {told}")
        answer = predict(client)
        assert (answer.status_code, answer.json()["detail"]) == (503, told)
        hold.let_go()
        wait_until(lambda: predict(client).status_code == 200)  # although the settings say not to poll


def test_a_cache_that_cannot_be_written_says_nothing_about_the_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImportInterrupted, match=r"the cache cannot be written: .*Not a directory"):
        ImportProcess(silent).run(write_model(tmp_path / "net.onnx"), flags_of(tmp_path), tmp_path / "file" / "out")


def test_a_bundle_may_be_named_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path)
    monkeypatch.chdir(bundle)
    assert bundle_at(Path("."), [], {}, silent) == bundle
    with running(tmp_path, sources=open_sources([Path(".")], [], None, silent)) as server, server.client() as client:
        assert best_label(predict(client, "tiny")) == "red"


def test_a_bundle_that_is_named_by_its_path_may_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    mounted = write_bundle(tmp_path).rename(tmp_path / "models")
    with running(tmp_path, sources=open_sources([mounted], [], None, silent)) as server, server.client() as client:
        assert best_label(predict(client, "tiny")) == "red"


NO_MODELS = {
    "cat.png": (picture(), "it seems to be a picture"),
    "net.pt": (zipped("net/data.pkl"), "network = torch.load('net.pt', weights_only=False).eval(); torch.onnx.export("),
    "old.pth": (pickle.dumps({}, protocol=2), "network = torch.load('old.pth', weights_only=False).eval(); torch.onnx"),
    "net.zip": (zipped("net.onnx"), "a zip archive; unpack it and import net.onnx"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_refused_with_advice_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = NO_MODELS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRefused) as refusal:
        ImportProcess(silent).run(tmp_path / name, import_flags(tmp_path), tmp_path / "out")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_where_onnx_is_not_installed_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sources.importing.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"net\.onnx has to be imported, but onnx .* pip install .*export"):
        check_importer(Path("net.onnx"))


def test_where_imports_are_not_installed_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("service.sources.importing.ROOT", tmp_path)
    with pytest.raises(SourceError, match="import it elsewhere"):
        check_importer(Path("net.onnx"))


def test_the_bundle_at_a_path_is_itself_its_newest_version_or_the_only_one(tmp_path: Path) -> None:
    single = write_bundle(tmp_path / "one", "single")
    for version in ("9", "10"):
        write_bundle(tmp_path / "versions", "net", version=version)
    for path in (single, tmp_path / "one"):
        assert bundle_at(path, [], {}, silent) == single
    assert bundle_at(tmp_path / "versions" / "net", [], {}, silent) == tmp_path / "versions" / "net" / "10"
    write_bundle(tmp_path / "one", "second")
    with pytest.raises(SourceError, match=r"holds 2 bundles \(second, single\); name one"):
        bundle_at(tmp_path / "one", [], {}, silent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SourceError, match=r"is an empty folder: name an \.onnx file, the folder of a model, or a bundle"
    ):
        bundle_at(tmp_path / "empty", [], {}, silent)
