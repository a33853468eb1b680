"""The repository extension in its explicit mode, by `tritonclient`: models are loaded and unloaded by name."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.sources.cache import ImportCache
from service.sources.flags import split_flags
from service.sources.imported import ImportedModel
from service.sources.importing import ImportProcess
from tests.service.live_server import LiveServer, best_label, held_at, picture, running, wait_until
from tests.service.sources.served_process import import_flags, write_model
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
BLUE = (0.0, 0.0, 100.0)
EXPLICIT: dict[str, Any] = {"model_control": "explicit", "warm_up": False}


class Client(triton.InferenceServerClient):  # type: ignore[misc]
    """Triton's client, with the index in short."""

    def states(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return (name, version) → (state, reason)."""
        return {(e["name"], e["version"]): (e["state"], e["reason"]) for e in self.get_model_repository_index()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        write_bundle(tmp_path / "bundles", "pets", version=version)
    write_bundle(tmp_path / "bundles", "cars")
    return tmp_path / "bundles"


@pytest.fixture
def server(folder: Path) -> Iterator[LiveServer]:
    with running(folder, **EXPLICIT) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(urlsplit(server.url).netloc, concurrency=2) as client:
        yield client


def predicted(server: LiveServer, model: str) -> str:
    return best_label(httpx.post(f"{server.url}/predict", params={"model": model}, content=RED))


def posted(server: LiveServer, path: str, **more: Any) -> tuple[int, str]:
    answer = httpx.post(f"{server.url}/v2/repository/{path}", timeout=30, **more)
    return answer.status_code, answer.json()["error"] if answer.content else ""


def test_models_are_served_while_they_are_loaded(server: LiveServer, client: Client) -> None:
    assert client.is_server_ready()
    assert {"model_repository", "model_repository(unload_dependents)"} <= set(client.get_server_metadata()["extensions"])
    not_loaded = ("UNAVAILABLE", "not loaded")
    assert client.states() == {("pets", "1"): not_loaded, ("pets", "2"): not_loaded, ("cars", "1"): not_loaded}
    told = httpx.post(f"{server.url}/predict", content=RED)
    assert (told.status_code, "/v2/repository/models/{name}/load" in told.json()["detail"]) == (404, True)
    client.load_model("pets")
    client.load_model("pets")
    assert client.states() == {
        ("pets", "1"): ("READY", ""), ("pets", "2"): ("READY", ""), ("cars", "1"): not_loaded,
    }  # fmt: skip
    assert predicted(server, "pets") == "red"
    ready = client.get_model_repository_index.__self__._post("v2/repository/index", b'{"ready": true}', {}, None)
    assert b"cars" not in ready.read()
    client.unload_model("pets", unload_dependents=True)
    client.unload_model("nobody")
    assert {state for state, _ in client.states().values()} == {"UNAVAILABLE"}
    assert client.states()["pets", "2"] == ("UNAVAILABLE", "unloaded")
    assert not client.is_model_ready("pets")
    assert client.is_server_ready()


def test_a_load_takes_up_what_has_changed_since_and_nothing_else_does(
    server: LiveServer, client: Client, folder: Path
) -> None:
    client.load_model("pets")
    write_bundle(folder, "pets", version="2", bias=BLUE)
    shutil.rmtree(folder / "pets" / "1")
    write_bundle(folder, "pets", version="3")
    assert client.states()["pets", "3"] == ("UNAVAILABLE", "not loaded")
    assert predicted(server, "pets@2") == "red"
    client.load_model("pets")
    assert set(client.states()) == {("pets", "2"), ("pets", "3"), ("cars", "1")}
    assert predicted(server, "pets@2") == "blue"


def test_a_load_that_fails_says_why_and_changes_nothing_that_is_served(
    server: LiveServer, client: Client, folder: Path
) -> None:
    client.load_model("pets")
    write_bundle(folder, "pets", version="1", bias=BLUE)
    (folder / "pets" / "2" / "forward.onnx").write_bytes(b"")
    with pytest.raises(InferenceServerException, match=r"Failed to load pets: pets/2: forward.onnx was changed") as error:
        client.load_model("pets")
    assert error.value.status() == "400"
    assert (predicted(server, "pets@1"), predicted(server, "pets@2")) == ("red", "red")
    assert client.states()["pets", "1"] == ("READY", "")
    state, reason = client.states()["pets", "2"]
    assert (state, reason.partition("was")[0]) == ("READY", "an earlier state of its bundle is served: forward.onnx ")
    with pytest.raises(InferenceServerException, match="there is no such model"):
        client.load_model("nobody")
    (folder / "pets" / "2" / "bundle.json").unlink()
    (folder / "pets" / "2" / "bundle.json").symlink_to("/proc/self/mem")  # an error of the system is never "gone"
    assert posted(server, "models/pets/load")[0] == 503
    assert predicted(server, "pets@2") == "red"


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2Fb", "..%2Fbundles%2Fpets", "/etc", "pets@1", "a%00b", "%ff"])
def test_a_name_leads_nowhere_but_to_a_bundle(server: LiveServer, name: str) -> None:
    for action in ("load", "unload"):
        status, error = posted(server, f"models/{name}/{action}")
        assert (status, bool(error)) in ((400, True), (404, True))
    assert not server.state.registry.models()


@pytest.mark.parametrize("parameter", ["config", "file:1/model.onnx"])
def test_no_model_is_taken_over_http(server: LiveServer, parameter: str) -> None:
    status, error = posted(server, "models/pets/load", json={"parameters": {parameter: "e30="}})
    assert (status, "none is taken over HTTP" in error) == (400, True)
    assert posted(server, "models/pets/unload", json={"parameters": {"unload_dependents": 1}})[0] == 400
    assert posted(server, "models/pets/load", content=b"[]")[0] == 400


def test_loads_wait_for_each other_and_for_no_longer_than_the_deadline() -> None:
    pass
