"""Requests that name no model get the default, and never another one in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.settings.fields import Settings
from service.settings.reading import SettingsError, read_settings
from tests.service.live_server import best_label, picture, running
from tests.service.tiny_bundles import write_bundle

RED = picture("red")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two versions of `colour`, the second of which calls everything blue, and `other`, which calls it green."""
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", bias=(0.0, 0.0, 100.0))
    write_bundle(tmp_path, "other", bias=(0.0, 100.0, 0.0))
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "label", "flagged"),
    [
        (None, "blue", ["colour@1", "colour@2"]),
        ("other", "green", ["other@1"]),
        ("colour", "blue", ["colour@1", "colour@2"]),
        ("colour@1", "red", ["colour@1"]),
        ("colour@2", "blue", ["colour@2"]),
    ],
)
def test_the_default_is_the_one_that_is_set_with_its_version(
    folder: Path, wanted: str | None, label: str, flagged: list[str]
) -> None:
    with running(folder, default_model=wanted) as server, server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == label
        listing = client.get("/models").json()
        assert listing["default"] == (wanted or "colour")
        assert listing["default_missing"] is None
        assert [f"{m['name']}@{m['version']}" for m in listing["models"] if m["default"]] == flagged
        assert best_label(client.post("/predict", params={"model": listing["default"]}, content=RED)) == label
        assert client.get("/health/ready").status_code == 200


def test_a_version_that_is_asked_for_without_a_model_is_the_default_models(folder: Path) -> None:
    with running(folder, default_model="colour@1") as server, server.client() as client:
        assert best_label(client.post("/predict", params={"version": "2"}, content=RED)) == "blue"
        assert client.post("/predict", params={"version": "3"}, content=RED).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("typo", "There is no model 'typo'; served are colour, other."),
        ("colour@3", "colour has no version '3'; served are 1, 2."),
        ("spoiled", "The bundle spoiled is refused: forward.onnx was changed"),
    ],
)
def test_a_default_that_is_not_there_is_said_and_replaced_by_no_other(
    folder: Path, caplog: pytest.LogCaptureFixture, wanted: str, reason: str
) -> None:
    write_bundle(folder, "spoiled", sha256={"forward.onnx": "0" * 64})
    told = f"The default model {wanted} is not served. {reason}"
    with running(folder, default_model=wanted) as server, server.client() as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["detail"].startswith(told)
        for answer in (
            client.post("/predict", content=RED),
            client.post("/predict", content=picture("red", size=(400, 400))),
            client.post("/diagnostics/gradients", content=RED),
            client.post("/predict", files={"images": RED}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:contraflow:problem:not-ready")
            assert answer.json()["detail"].startswith(told)
            assert answer.headers["retry-after"] == "1"
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/models").json()["default_missing"].startswith(told)
        assert best_label(client.post("/predict", params={"model": "other"}, content=RED)) == "green"
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any(message.startswith(told) for message in errors)


def test_a_default_may_come_later_and_go_again(folder: Path) -> None:
    with running(folder, default_model="late") as server, server.client() as client:
        assert client.get("/health/ready").status_code == 503
        write_bundle(folder, "late")
        server.state.loader.refresh()
        assert client.get("/health/ready").status_code == 200
        assert best_label(client.post("/predict", content=RED)) == "red"
        shutil.rmtree(folder / "late")
        server.state.loader.refresh()
        assert client.get("/health/ready").status_code == 503
        assert client.post("/predict", content=RED).status_code == 503


@pytest.mark.parametrize("name", ["re snet", "resnet20@", "resnet20@latest", "@1", "../resnet20", "ré", "a@1@2"])
def test_a_name_that_no_bundle_can_have_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match="default_model"):
        read_settings({"CONTRAFLOW_DEFAULT_MODEL": name})


def test_a_variable_that_is_set_to_nothing_names_no_default() -> None:
    assert read_settings({"CONTRAFLOW_DEFAULT_MODEL": ""})[0] == Settings()
