"""When the service reports that it is ready, and how requests before that are answered."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.live_server import (
    PATIENCE_SECONDS,
    LiveServer,
    best_label,
    held_at,
    held_start,
    picture,
    running,
    wait_until,
)
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
LARGE = picture("red", size=(400, 400))
"""A picture with more pixels than a run slot decodes itself."""

BEFORE_LOADING = "models: "
"""The line that the loader logs when it has read every bundle and loaded none."""


def predict(client: httpx.Client, model: str, content: bytes = RED, **headers: str) -> httpx.Response:
    return client.post("/predict", params={"model": model}, content=content, headers=headers)


def state_of(server: LiveServer, model: str) -> str:
    return str(server.state.registry.select(model).graphs["forward"].state)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_bundle(tmp_path, name)
    return tmp_path


def test_it_is_ready_when_the_forward_graph_of_every_bundle_serves(folder: Path) -> None:
    with held_start(folder, "b@1 forward is ready") as (server, _), server.client() as client:
        assert [state_of(server, name) for name in "abc"] == ["ready", "ready", "unloaded"]
        for path in ("/health/ready", "/v2/health/ready"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        assert client.get("/health/ready").json()["detail"] == "1 of 3 models are still loading: c@1."
        assert client.get("/health/live").status_code == 200
    with running(folder) as server, server.client() as client:
        assert client.get("/health/ready").json()["models"] == {f"{name}@1": {"forward": "ready"} for name in "abc"}


def test_it_may_be_ready_as_soon_as_the_default_model_serves(folder: Path) -> None:
    settings = {"ready_when": "default", "default_model": "b"}
    with held_start(folder, "b@1 forward is ready", **settings) as (server, _), server.client() as client:
        assert [state_of(server, name) for name in "abc"] == ["unloaded", "ready", "unloaded"]
        assert client.get("/health/ready").status_code == 200


def test_a_bundle_that_cannot_be_served_keeps_nobody_from_being_ready(folder: Path) -> None:
    write_bundle(folder, "spoiled", sha256={"forward.onnx": "0" * 64})
    empty = hashlib.sha256(b"").hexdigest()
    (write_bundle(folder, "empty", sha256={"forward.onnx": empty}) / "forward.onnx").write_bytes(b"")
    with running(folder) as server, server.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert set(client.get("/models").json()["refused"]) == {"spoiled", "empty"}


@pytest.mark.parametrize("content", [RED, LARGE], ids=["small", "large"])
def test_a_prediction_for_a_model_that_is_still_loading_is_answered(folder: Path, content: bytes) -> None:
    """The graph is loaded for the request, before its turn: the loader itself has loaded none."""
    with held_start(folder, BEFORE_LOADING) as (server, _), server.client() as client:
        assert best_label(predict(client, "c", content)) == "red"
        assert [state_of(server, name) for name in "abc"] == ["unloaded", "unloaded", "ready"]
        infer = {"inputs": [{"name": "input", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": [0.0] * 192}]}
        assert client.post("/v2/models/b/infer", json=infer).status_code == 200
        assert client.get("/health/ready").status_code == 503


def test_what_is_asked_for_is_loaded_first(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with held_start(folder, BEFORE_LOADING, default_model="b") as (server, gate):
        server.state.registry.select("c").graphs["forward"].asked_for = True
        gate.let_go()
        assert server.state.loader.started.wait(PATIENCE_SECONDS)
    said = [record.getMessage()[:3] for record in caplog.records if "is ready" in record.getMessage()]
    assert said == ["c@1", "b@1", "a@1"]


def test_a_prediction_waits_no_longer_than_its_deadline(folder: Path) -> None:
    with held_start(folder, BEFORE_LOADING) as (server, _), server.client() as client:
        with server.state.registry.select("a").graphs["forward"].lock:  # as while another thread loads it
            for content in (RED, LARGE):
                answer = predict(client, "a", content, **{"X-Deadline-Ms": "100"})
                assert (answer.status_code, answer.json()["type"]) == (504, "urn:contraflow:problem:deadline-exceeded")
        assert best_label(predict(client, "a")) == "red"


def test_no_more_images_wait_for_a_graph_than_may_be_queued(folder: Path) -> None:
    with (
        held_start(folder, BEFORE_LOADING, max_queued_images=2) as (server, _),
        server.client() as client,
        ThreadPoolExecutor(2) as pool,
    ):
        with server.state.registry.select("a").graphs["forward"].lock:
            waiting = [pool.submit(predict, client, "a") for _ in range(2)]
            wait_until(lambda: server.state.engine._waiting_for_graphs == 2)
            answer = predict(client, "a")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:contraflow:problem:queue-full")
            assert answer.headers["retry-after"] == "1"
        assert [best_label(one.result()) for one in waiting] == ["red", "red"]
        assert server.state.engine._waiting_for_graphs == 0


def test_a_bundle_that_appears_while_serving_leaves_it_ready(folder: Path) -> None:
    with running(folder) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        write_bundle(folder, "late")
        with held_at("late@1 forward is ready") as gate:
            looked = pool.submit(server.state.loader.refresh)
            assert gate.reached.wait(PATIENCE_SECONDS)
            assert client.get("/health/ready").status_code == 200
            assert predict(client, "late").status_code == 404
            gate.let_go()
        looked.result()
        assert best_label(predict(client, "late")) == "red"
        assert client.get("/health/ready").status_code == 200


def test_with_keys_on_strangers_learn_no_names(folder: Path) -> None:
    key = "sha256:" + hashlib.sha256(b"key").hexdigest()
    known, stranger = {"authorization": "Bearer key"}, {"authorization": "Bearer other"}
    keys: dict[str, Any] = {"api_keys": (key,)}
    with held_start(folder, "b@1 forward is ready", **keys) as (server, _), server.client() as client:
        assert "c@1" in client.get("/health/ready", headers=known).text
        for headers in ({}, stranger):
            answer = client.get("/health/ready", headers=headers)
            assert answer.json().keys() == {"type", "title", "status", "detail", "request_id", "retry_after_ms"}
            assert answer.json()["detail"] == "1 of 3 models are still loading."
            assert client.get("/v2/health/ready").json() == {"error": "1 of 3 models are still loading."}
    with running(folder, **keys) as server, server.client() as client:
        assert client.get("/health/ready").json() == {"ready": True}
        assert client.get("/health/ready", headers=stranger).json() == {"ready": True}
        assert set(client.get("/health/ready", headers=known).json()["models"]) == {"a@1", "b@1", "c@1"}
    with running(folder, **keys, default_model="secret") as server, server.client() as client:
        assert client.get("/health/ready").json()["detail"] == "The default model is not served."
        assert "secret" in client.get("/health/ready", headers=known).json()["detail"]


def test_copies_of_a_graph_share_one_session_and_answer_by_their_own_labels(tmp_path: Path) -> None:
    write_bundle(tmp_path, "one")
    write_bundle(tmp_path, "two", labels=("rouge", "vert", "bleu"))
    write_bundle(tmp_path, "other", bias=(0.0, 0.0, 100.0))
    with running(tmp_path) as server, server.client() as client:
        one, two, other = (server.state.registry.select(n).graphs["forward"] for n in ("one", "two", "other"))
        assert one.session is two.session
        assert other.session is not one.session
        assert (one.best_batch, one.seconds_per_image) == (two.best_batch, two.seconds_per_image)
        assert [best_label(predict(client, name)) for name in ("one", "two", "other")] == ["red", "rouge", "blue"]
        (tmp_path / "one" / "bundle.json").unlink()
        server.state.loader.refresh()
        assert predict(client, "one").status_code == 404
        assert best_label(predict(client, "two")) == "rouge"
