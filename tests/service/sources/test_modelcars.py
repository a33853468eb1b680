"""A model in another container, behind a link of /proc, as KServe's modelcars give it to the service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.graph.errors import InvalidModel
from export.importing.file.reading import read_model
from service.bundles.disk import read_bundle
from service.contract.runtime.opening import Runtime
from service.contract.runtime.session import zeros_for
from tests.export.importing.folders.producers import network
from tests.service.live_server import best_label, picture
from tests.service.sources.served_process import ServedProcess, begin

BUNDLE = Path("models/bundles/resnet20")
EXTERNAL: dict[str, Any] = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0}


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another process with a file system that holds a bundle and a file with external data; yield its /proc link."""
    folder = tmp_path_factory.mktemp("car")
    image, root = folder / "image", folder / "root"
    shutil.copytree(BUNDLE, image / "resnet20")
    onnx.save(network((16, 16)), image / "model.onnx", **EXTERNAL)
    onnx.save(network((16, 16)), image / "linked.onnx", **{**EXTERNAL, "location": "linked.onnx_data"})
    (image / "linked.onnx_data").rename(folder / "secret")
    (image / "linked.onnx_data").symlink_to(folder / "secret")
    root.mkdir()
    script = f"mount -t tmpfs tmpfs {root} && cp -a {image} {root}/models && echo ready && exec sleep 600"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                pytest.skip("this user may not mount in a namespace of his own")
            yield Path(f"/proc/{process.pid}/root{root}/models")
        finally:
            process.kill()


def test_a_bundle_in_another_container_gives_the_same_numbers(car: Path) -> None:
    stored, runtime = read_bundle(car / "resnet20"), Runtime("cpu")
    for graph in stored.bundle.graphs.values():
        here, there = runtime.open(BUNDLE / graph.file), runtime.open(stored.directory / graph.file)
        feeds = zeros_for(here, 2)
        expected, found = here.run(feeds), there.run(feeds)
        assert all(np.array_equal(expected[name], found[name], equal_nan=True) for name in expected)


def test_a_file_in_another_container_is_read_with_its_weights_but_no_link_is_followed(car: Path) -> None:
    read, written = read_model(car / "model.onnx"), network((16, 16))
    for found, expected in zip(read.graph.initializer, written.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(found), numpy_helper.to_array(expected))
    with pytest.raises(InvalidModel, match="outside the model's folder"):
        read_model(car / "linked.onnx")


def test_a_model_that_comes_after_the_start_is_waited_for(
    car: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_INIT_MODE", "async")
    place = tmp_path / "models"
    with begin(tmp_path / "cache", place) as process:
        assert process.stderr is not None
        assert f"waiting for {place}, because of MODEL_INIT_MODE=async" in process.stderr.readline()
        place.symlink_to(car / "resnet20")
        server = ServedProcess(process)
        try:
            assert list(server.digests()) == ["resnet20@1"]
            best_label(server.client.post("/predict", content=picture("red")))
        finally:
            server.end()
