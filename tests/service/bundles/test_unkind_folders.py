"""Errors of the file system: none of them takes a served model away, and each is reported."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.bundles.folder import Look, look_at
from tests.service.bundles.steps import look, metric, predict
from tests.service.live_server import best_label, running, wait_until
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[3]
BIASES = {"red": (0.0, 0.0, 0.0), "blue": (0.0, 0.0, 100.0)}


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let this process open nothing: its limit of descriptors is below the next free one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_is_retired_while_no_descriptor_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        assert best_label(predict(client)) == "red"
        with no_descriptors_left():
            look(server)
            look(server)
        listing = client.get("/models").json()
        assert listing["unavailable"] == {".": "Too many open files"}
        assert [model["name"] for model in listing["models"]] == ["tiny"]
        assert metric(client, "contraflow_bundles_unavailable") == 1
        assert best_label(predict(client)) == "red"
        assert predict(client, "unknown").status_code == 503  # who knows?
        assert client.get("/health/ready").status_code == 200
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert predict(client, "unknown").status_code == 404
    warned = [record.getMessage() for record in caplog.records if "Too many open files" in record.getMessage()]
    assert len(warned) == 1  # once per change, not once per look


def test_a_bundle_that_is_replaced_while_the_folder_is_looked_at_is_never_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment moves the old bundle away, then the new one into place; the loader looks between the moves."""
    bundle = write_bundle(tmp_path, "tiny")
    new = write_bundle(tmp_path / ".new", "tiny", bias=BIASES["blue"])
    with running(tmp_path) as server, server.client() as client:
        names: list[list[str]] = []

        def looked_at_between(folder: Path) -> Look:
            look = look_at(folder)
            if new.exists():
                new.rename(bundle)
            names.append(server.state.registry.names())
            return look

        monkeypatch.setattr("service.bundles.source.look_at", looked_at_between)
        shutil.rmtree(bundle)
        look(server)
        assert names == [["tiny"], ["tiny"]]
        assert best_label(predict(client, "tiny")) == "blue"
        shutil.rmtree(bundle)
        look(server)
        assert predict(client, "tiny").status_code == 404


def test_a_folder_that_vanishes_is_served_on_until_it_is_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "bundles", tmp_path / "away"
    write_bundle(folder, "tiny")
    with running(folder) as server, server.client() as client:
        folder.rename(away)
        look(server)
        assert client.get("/models").json()["unavailable"] == {".": "No such file or directory"}
        assert best_label(predict(client)) == "red"
        away.rename(folder)
        write_bundle(folder, "second")
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert best_label(predict(client, "second")) == "red"


def test_an_empty_folder_on_another_file_system_is_an_unmount_and_on_the_same_a_removal(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    mounted, empty, folder = tmp_path / "mounted", tmp_path / "empty", tmp_path / "bundles"
    write_bundle(mounted, "tiny")
    empty.mkdir()
    other_device = elsewhere / f"contraflow-test-{os.getpid()}"
    other_device.mkdir()
    try:
        folder.symlink_to(mounted)
        with running(folder) as server, server.client() as client:
            folder.unlink()
            folder.symlink_to(other_device)
            look(server)
            assert best_label(predict(client)) == "red"
            assert "unmount" in client.get("/models").json()["unavailable"]["."]
            folder.unlink()
            folder.symlink_to(empty)
            look(server)
            assert predict(client).status_code == 404
            assert client.get("/models").json()["unavailable"] == {}
    finally:
        other_device.rmdir()


def test_a_folder_that_cannot_be_listed_at_first_is_looked_at_again_even_without_polling(tmp_path: Path) -> None:
    """`python -m service` would not start; the folder may also go between its start and the loader's first look."""
    folder = tmp_path / "bundles"
    folder.symlink_to(folder)
    told = "The folder of bundles cannot be read: Too many levels of symbolic links."
    with running(folder, loaded=False, bundle_poll_seconds=0) as server, server.client() as client:
        wait_until(lambda: told in client.get("/health/ready").text)
        assert client.get("/health/ready").status_code == 503
        answer = predict(client)
        assert (answer.status_code, answer.json()["detail"]) == (503, told)
        folder.unlink()
        write_bundle(folder, "tiny")
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert best_label(predict(client)) == "red"


@pytest.mark.parametrize(
    ("target", "reason"),
    [("net", "Too many levels of symbolic links"), ("/nowhere/at/all", "its symbolic link leads nowhere")],
    ids=["loop", "nowhere"],
)
def test_a_link_that_cannot_be_followed_retires_nothing(tmp_path: Path, target: str, reason: str) -> None:
    folder, real = tmp_path / "bundles", tmp_path / "real"
    write_bundle(real, "net")
    folder.mkdir()
    (folder / "net").symlink_to(real / "net")
    with running(folder) as server, server.client() as client:
        (folder / "net").unlink()
        (folder / "net").symlink_to(target)
        look(server)
        assert client.get("/models").json()["unavailable"] == {"net": reason}
        assert best_label(predict(client, "net")) == "red"
        (folder / "net").unlink()  # now it is gone
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert predict(client, "net").status_code == 404


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("bundle.json", "Too many levels of symbolic links"),
        ("/nowhere/at/all", "bundle.json: its symbolic link leads nowhere"),
    ],
    ids=["loop", "nowhere"],
)
def test_why_the_link_to_a_description_cannot_be_followed_is_said_as_it_is(
    tmp_path: Path, target: str, reason: str
) -> None:
    write_bundle(tmp_path, "net")
    with running(tmp_path) as server, server.client() as client:
        (tmp_path / "net" / "bundle.json").unlink()
        (tmp_path / "net" / "bundle.json").symlink_to(target)
        look(server)
        assert client.get("/models").json()["unavailable"] == {"net": reason}
        assert best_label(predict(client, "net")) == "red"


def test_a_file_that_gives_an_input_output_error_is_no_refusal(tmp_path: Path) -> None:
    """Reading /proc/self/mem at its start is EIO, and it is a plain file to everyone who asks."""
    write_bundle(tmp_path, "good")
    new = write_bundle(tmp_path, "new")
    content = (new / "forward.onnx").read_bytes()
    (new / "forward.onnx").unlink()
    (new / "forward.onnx").symlink_to("/proc/self/mem")
    with running(tmp_path) as server, server.client() as client:
        listing = client.get("/models").json()
        assert listing["refused"] == {}
        assert listing["unavailable"] == {"new": "forward.onnx cannot be read: Input/output error"}
        answer = predict(client, "new")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/health/ready").status_code == 200
        index = client.post("/v2/repository/index").json()
        assert [entry["state"] for entry in index if entry["name"] == "new"] == ["UNAVAILABLE"]
        (new / "forward.onnx").unlink()
        (new / "forward.onnx").write_bytes(content)
        look(server)
        assert best_label(predict(client, "new")) == "red"


def test_a_file_that_cannot_be_read_for_a_request_is_a_503_and_asked_for_again(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "bundles" / "resnet20", tmp_path / "resnet20")
    reference = tmp_path / "resnet20" / "reference.npz"
    image = (ROOT / "tests" / "photographs" / "ship.jpg").read_bytes()
    with running(tmp_path, warm_up=False) as server, server.client() as client:
        content = reference.read_bytes()
        reference.unlink()
        reference.symlink_to("/proc/self/mem")
        answer = client.post("/diagnostics/scores", content=image)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Input/output error" in answer.json()["detail"]
        graph = tmp_path / "resnet20" / "activations.onnx"
        kept = graph.read_bytes()
        graph.unlink()
        graph.symlink_to("/proc/self/mem")
        answer = client.post("/diagnostics/features", content=image)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Input/output error" in answer.json()["detail"]
        for path, bytes_of in ((reference, content), (graph, kept)):
            path.unlink()
            path.write_bytes(bytes_of)
        assert client.post("/diagnostics/scores", content=image).status_code == 200
        wait_until(lambda: client.post("/diagnostics/features", content=image).status_code == 200)


def mounted(volume: Path, revision: str, source: Path) -> None:
    """Replace all content by swapping one link, as the kubelet does with a ConfigMap or a projected volume."""
    shutil.copytree(source, volume / f"..{revision}")
    (volume / "..data_tmp").symlink_to(f"..{revision}")
    (volume / "..data_tmp").rename(volume / "..data")
    for entry in source.iterdir():
        if not (volume / entry.name).is_symlink():
            (volume / entry.name).symlink_to(f"..data/{entry.name}")


@pytest.mark.parametrize("whole_folder", [False, True], ids=["a bundle", "the folder of bundles"])
def test_a_mounted_volume_of_links_is_followed(tmp_path: Path, whole_folder: bool) -> None:
    folder = tmp_path / "bundles"
    red, blue = (write_bundle(tmp_path / name, "net", bias=bias) for name, bias in BIASES.items())
    volume = folder if whole_folder else folder / "net"
    volume.mkdir(parents=True)
    mounted(volume, "1", red.parent if whole_folder else red)
    with running(folder) as server, server.client() as client:
        assert best_label(predict(client, "net")) == "red"
        mounted(volume, "2", blue.parent if whole_folder else blue)
        look(server)
        assert best_label(predict(client, "net")) == "blue"
        shutil.rmtree(volume / "..1")
        look(server)
        listing = client.get("/models").json()
        assert (listing["refused"], listing["unavailable"], len(listing["models"])) == ({}, {}, 1)
