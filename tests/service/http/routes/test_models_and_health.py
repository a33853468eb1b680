"""The list of models, the reasons of refused bundles, and the health endpoints that orchestrators ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.bundles.disk import read_bundle
from service.bundles.registry import Registry
from service.bundles.served_model import ServedModel
from tests.service.live_server import best_label, picture, running
from tests.service.tiny_bundles import LABELS, write_bundle


def test_models_are_listed_by_name_and_version_with_their_provider(client: httpx.Client) -> None:
    listing = client.get("/models").json()
    assert [(model["name"], model["version"]) for model in listing["models"]] == [
        ("other", "1"),
        ("tiny", "1"),
        ("tiny", "2"),
    ]
    assert listing["default"] == "other"
    assert {model["execution_provider"] for model in listing["models"]} == {"CPUExecutionProvider"}
    assert listing["execution_provider_reason"]


def test_the_metric_of_the_processor_names_a_card_where_there_is_one(client: httpx.Client) -> None:
    [line] = [one for one in client.get("/metrics").text.splitlines() if one.startswith("contraflow_execution_prov")]
    for label in ('execution_provider="CPUExecutionProvider"', 'gpu=""', 'card=""'):
        assert label in line


def test_a_bundle_with_one_changed_byte_is_refused_with_its_reason_and_the_others_are_served(
    client: httpx.Client,
) -> None:
    listing = client.get("/models").json()
    assert list(listing["refused"]) == ["spoiled"]
    assert "forward.onnx was changed" in listing["refused"]["spoiled"]
    answer = client.get("/models/spoiled")
    assert answer.status_code == 404
    assert "forward.onnx was changed" in answer.json()["detail"]
    assert client.post("/predict", params={"model": "spoiled"}, content=picture()).status_code == 404
    assert best_label(client.post("/predict", content=picture())) == "red"


def test_one_model_is_described_with_its_labels_and_versions(client: httpx.Client) -> None:
    model = client.get("/models/tiny").json()
    assert (model["version"], model["versions"], model["labels"]) == ("2", ["1", "2"], list(LABELS))
    assert client.get("/models/tiny", params={"version": "1"}).json()["version"] == "1"
    assert client.get("/models/nobody").status_code == 404


def test_a_record_with_losses_that_are_not_finite_is_shown_as_it_was_written(tmp_path: Path) -> None:
    errors = {"train_error": 0.9, "test_error": 0.9}
    final = {"train_loss": float("inf"), "test_loss": float("nan"), **errors}
    training = {"data_set": "noise", "recipe": {"rate": float("inf")}, "seed": 1, "epochs": [], "final": final}
    write_bundle(tmp_path, "tiny", training=training)
    with running(tmp_path) as server, server.client() as client:
        shown = client.get("/models/tiny").json()["training"]
    assert shown == {
        **training, "recipe": {"rate": "Infinity"}, "final": {"train_loss": "Infinity", "test_loss": "NaN", **errors}
    }  # fmt: skip


def test_health_says_live_and_ready_with_every_graph(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"live": True}
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["models"]["tiny@2"] == {"forward": "ready"}


def test_head_is_answered_as_get_without_the_body(client: httpx.Client) -> None:
    for path in ("/health/ready", "/v2/health/live", "/models", "/openapi.json"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert client.head("/predict").status_code == 405


def test_a_folder_without_bundles_is_live_but_not_ready(tmp_path: Path) -> None:
    with running(tmp_path / "nothing") as server, server.client() as client:
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["detail"] == (
            "No model is served. The folder of bundles cannot be read: No such file or directory."
        )


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not JSON": (lambda folder: (folder / "bundle.json").write_text("{"), "not valid"),
    "no forward graph": (lambda folder: write_bundle(folder.parent, folder.name, graphs={}), "no forward graph"),
    "a missing file": (lambda folder: (folder / "forward.onnx").unlink(), "cannot be read"),
    "a file outside": (
        lambda folder: write_bundle(folder.parent, folder.name, sha256={"../x": "0" * 64, "forward.onnx": "0" * 64}),
        "leads out of the bundle",
    ),
    "another name than its folder": (lambda folder: folder.rename(folder.parent / "elsewhere"), "must be called"),
    "too few means": (
        lambda folder: write_bundle(
            folder.parent, folder.name, input={"height": 8, "width": 8, "mean": (0.0,), "std": (1.0,)}
        ),
        "one value for each",
    ),
    "no graph at all in the file": (
        lambda folder: write_bundle(
            folder.parent, folder.name, sha256={"forward.onnx": hashlib.sha256(b"").hexdigest()}
        ),
        "cannot be loaded",
    ),
}


def test_every_way_to_be_no_bundle_is_refused_in_words(tmp_path: Path) -> None:
    write_bundle(tmp_path, "good")
    for number, (spoil, _) in enumerate(REFUSALS.values()):
        spoil(write_bundle(tmp_path, f"bad{number}"))
    (tmp_path / f"bad{len(REFUSALS) - 1}" / "forward.onnx").write_bytes(b"")
    with running(tmp_path) as server, server.client() as client:
        listing = client.get("/models").json()
        assert [model["name"] for model in listing["models"]] == ["good"]
        reasons = " | ".join(listing["refused"].values())
        for _, words in REFUSALS.values():
            assert words in reasons
        assert len(listing["refused"]) == len(REFUSALS)


def test_a_model_found_while_the_registry_is_replaced_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader's thread may replace it between a request's search and its memory of what it found."""
    old, new = (
        ServedModel(read_bundle(write_bundle(tmp_path / place, "tiny")), "CPUExecutionProvider")
        for place in ("old", "new")
    )
    for model in (old, new):
        model.graphs["forward"].state = "ready"
    registry = Registry()
    registry.replace({"old": old}, {})
    found = registry._find

    def replaced_meanwhile(name: str, version: str | None) -> ServedModel:
        model = found(name, version)
        registry.replace({"new": new}, {})
        return model

    monkeypatch.setattr(registry, "_find", replaced_meanwhile)
    assert registry.select("tiny") is old
    monkeypatch.undo()
    assert registry.select("tiny") is new
