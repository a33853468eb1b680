"""The repository extension in its explicit mode, by `tritonclient`: models are loaded and unloaded by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, best_label, held_at, picture, running
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
    return best_label(
        httpx.post(f"{server.url}/predict", params={"model": model}, content=RED, timeout=PATIENCE_SECONDS)
    )


def posted(server: LiveServer, path: str, **more: Any) -> tuple[int, str]:
    answer = httpx.post(f"{server.url}/v2/repository/{path}", timeout=PATIENCE_SECONDS, **more)
    return answer.status_code, answer.json()["error"] if answer.content else ""


def test_models_are_served_while_they_are_loaded(server: LiveServer, client: Client) -> None:
    assert client.is_server_ready()
    extensions = client.get_server_metadata()["extensions"]
    assert {"model_repository", "model_repository(unload_dependents)"} <= set(extensions)
    not_loaded = ("UNAVAILABLE", "not loaded")
    assert client.states() == {("pets", "1"): not_loaded, ("pets", "2"): not_loaded, ("cars", "1"): not_loaded}
    told = httpx.post(f"{server.url}/predict", content=RED, timeout=PATIENCE_SECONDS)
    assert (told.status_code, "/v2/repository/models/{name}/load" in told.json()["detail"]) == (404, True)
    client.load_model("pets")
    client.load_model("pets")
    assert client.states() == {
        ("pets", "1"): ("READY", ""), ("pets", "2"): ("READY", ""), ("cars", "1"): not_loaded,
    }  # fmt: skip
    assert predicted(server, "pets") == "red"
    ready = httpx.post(f"{server.url}/v2/repository/index", json={"ready": True}, timeout=PATIENCE_SECONDS).json()
    assert {entry["name"] for entry in ready} == {"pets"}
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
    with pytest.raises(
        InferenceServerException, match=r"Failed to load pets: pets/2: forward.onnx was changed"
    ) as error:
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


def test_a_load_is_not_kept_from_a_bundle_by_one_whose_name_only_begins_alike(
    folder: Path, server: LiveServer, client: Client
) -> None:
    (folder / "pets.old").symlink_to("nowhere")
    client.load_model("pets")
    assert predicted(server, "pets") == "red"
    assert posted(server, "models/pets.old/load")[0] == 503


def test_a_name_leads_nowhere_but_to_a_bundle_and_no_model_is_taken_over_http(server: LiveServer) -> None:
    for name in ("..", "%2e%2e", "a%2Fb", "..%2Fbundles%2Fpets", "/etc", "pets@1", "a%00b", "%ff"):
        for action in ("load", "unload"):
            assert posted(server, f"models/{name}/{action}")[0] in (400, 404)
    for parameter in ("config", "file:1/model.onnx"):
        status, error = posted(server, "models/pets/load", json={"parameters": {parameter: "e30="}})
        assert (status, "none is taken over HTTP" in error) == (400, True)
    assert not server.state.registry.models()
    assert posted(server, "models/pets/unload", json={"parameters": {"unload_dependents": 1}})[0] == 400
    assert posted(server, "models/pets/load", content=b"[]")[0] == 400


def test_a_load_goes_on_after_its_deadline_and_an_unload_waits_for_its_turn(
    server: LiveServer, client: Client, folder: Path
) -> None:
    with held_at("pets@2 forward is ready") as gate, ThreadPoolExecutor(3) as pool:
        late = pool.submit(posted, server, "models/pets/load", headers={"X-Deadline-Ms": "500"})
        assert gate.reached.wait(PATIENCE_SECONDS)
        assert client.states()["pets", "1"] == ("LOADING", "")
        assert late.result() == (504, "The deadline passed before the answer was there.")
        assert client.is_server_live()
        again = pool.submit(posted, server, "models/pets/load")
        gate.let_go()
        assert again.result() == (200, "")
        assert predicted(server, "pets") == "red"
    pet = server.state.registry.select("pets")
    assert posted(server, "models/pets/unload") == (200, "")
    assert (pet.graph("forward").retired, pet.graph("forward").session is not None) == (True, True)


def test_what_the_settings_load_must_be_served_until_it_is_unloaded(folder: Path) -> None:
    with running(folder, **EXPLICIT, load_models=("cars", "late")) as server, server.client() as http:
        answer = http.get("/health/ready")
        assert (answer.status_code, "late, of load_models, is not served" in answer.json()["detail"]) == (503, True)
        write_bundle(folder, "late")
        assert posted(server, "models/late/load") == (200, "")
        assert http.get("/health/ready").status_code == 200
        assert posted(server, "models/cars/unload") == (200, "")
        assert http.get("/health/ready").status_code == 200
    (folder / "broken").mkdir()
    (folder / "broken" / "bundle.json").write_text("{")
    with running(folder, **EXPLICIT, load_models=("*",)) as server, server.client() as http:
        assert server.state.registry.names() == ["cars", "late", "pets"]
        assert http.get("/health/ready").status_code == 200
        assert list(http.get("/models").json()["refused"]) == ["broken"]


def test_an_imported_model_is_loaded_by_its_name_as_its_file_is_then(tmp_path: Path) -> None:
    model = write_model(tmp_path / "net.onnx", winner=1)
    flags = split_flags(import_flags(tmp_path))[1]
    source = ImportedModel(model, flags, ImportCache(tmp_path / "cache", print), ImportProcess(print))
    source.begin()
    with running(tmp_path, sources=[source], **EXPLICIT) as server:
        assert posted(server, "models/net/load") == (200, "")
        assert predicted(server, "net") == "bee"
        write_model(model, winner=2)
        assert posted(server, "models/net/load") == (200, "")
        assert predicted(server, "net") == "cat"
        model.write_bytes(b"no model")
        status, error = posted(server, "models/net/load")
        assert (status, "is refused" in error) == (400, True)
        assert predicted(server, "net") == "cat"
        model.unlink()
        assert posted(server, "models/net/load")[0] == 503
        assert predicted(server, "net") == "cat"


def test_where_the_folder_is_followed_load_and_unload_say_what_makes_them_work(folder: Path) -> None:
    with running(folder, warm_up=False) as server, server.client() as http:
        assert "model_repository" not in http.get("/v2").json()["extensions"]
        for action in ("load", "unload"):
            status, error = posted(server, f"models/pets/{action}")
            assert (status, "model_control (--model-control, CONTRAFLOW_MODEL_CONTROL) explicit" in error) == (
                400,
                True,
            )
        assert {entry["state"] for entry in http.post("/v2/repository/index").json()} == {"READY"}
        server.state.registry.select("cars").graph("forward").fail("memory is short")
        failed = [e for e in http.post("/v2/repository/index").json() if e["state"] != "READY"]
        assert failed == [{"name": "cars", "version": "1", "state": "UNAVAILABLE", "reason": "memory is short"}]
