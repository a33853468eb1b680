"""`POST /diagnostics/explain` and KServe's `:explain` over HTTP."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.bundles.served_model import ServedGraph
from service.diagnostics.schemas.explanation import METHODS, Explanations
from tests.service.explained_bundles import MAPS
from tests.service.live_server import LiveServer, running
from tests.service.slow_sessions import SlowSession
from tests.service.tiny_bundles import write_bundle

PICTURE = Path(__file__).parents[3] / "photographs" / "cat-640x480.jpg"
CAT = PICTURE.read_bytes()
IN_TEXT = base64.b64encode(CAT).decode()
EXPLAIN = "/diagnostics/explain"


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[LiveServer]:
    write_bundle(bundles, "old")
    with running(bundles, default_model="net", warm_up=False, deadline_ms=300_000) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def detail(answer: httpx.Response, kind: str, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"urn:contraflow:problem:{kind}"
    return str(answer.json()["detail"])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_with_maps_words_and_nothing_of_another_method(client: httpx.Client, method: str) -> None:
    answer = client.post(EXPLAIN, params={"method": method, "label": "bee"}, content=CAT)
    assert answer.status_code == 200, answer.text
    found = Explanations.model_validate(answer.json())
    (sample,) = found.samples
    assert (found.method, sample.label, sample.index) == (method, "bee", 1)
    assert "bee" in sample.because
    assert (found.layer == "second") == (method == "grad_cam")
    assert found.steps == {"integrated_gradients": 64, "smooth_grad": 50}.get(method)
    assert (sample.completeness is not None) == (method == "integrated_gradients")
    assert (sample.positive_share is None) == (method == "smooth_grad")
    size = MAPS["second"] if method == "grad_cam" else (16, 16)
    assert np.shape(sample.map.values) == (sample.map.height, sample.map.width) == size
    assert (sample.picture_map is None) == (method != "grad_cam")
    assert (np.min(sample.map.values) < 0) == (method in ("integrated_gradients", "input_x_gradient"))


def test_the_label_is_the_predicted_one_unless_it_is_given(client: httpx.Client) -> None:
    predicted = client.post("/predict", content=CAT).json()["predictions"][0]["labels"][0]
    (sample,) = client.post(EXPLAIN, content=CAT).json()["samples"]
    assert sample["label"] == sample["predicted_label"] == predicted["label"]
    assert sample["probability"] == pytest.approx(predicted["probability"], rel=1e-5)


def test_a_layer_is_chosen_by_its_name(client: httpx.Client) -> None:
    answer = client.post(EXPLAIN, params={"layer": "first"}, content=CAT).json()
    assert answer["layer"] == "first"
    assert (answer["samples"][0]["map"]["height"], answer["samples"][0]["picture_map"]) == (16, None)


def test_independent_labels_are_explained_one_at_a_time(client: httpx.Client) -> None:
    body = {"images": [{"data": IN_TEXT, "label": "cat"}, {"data": IN_TEXT}], "model": "labels"}
    samples = client.post(EXPLAIN, json=body).json()["samples"]
    assert samples[0]["label"] == "cat"
    assert isinstance(samples[1]["predicted_labels"], list)
    refused = client.post(EXPLAIN, params={"model": "labels", "label": "cat,dog"}, content=CAT)
    assert "An explanation is of one label" in detail(refused, "invalid-label")


def test_a_png_is_the_whole_picture_with_the_map_over_it(client: httpx.Client) -> None:
    answer = client.post(EXPLAIN, content=CAT, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    image = Image.open(io.BytesIO(answer.content))
    assert image.size == (640, 480)
    assert str(image.info["Title"]).startswith("What speaks for ")
    several = client.post(f"{EXPLAIN}?format=png", json={"images": [IN_TEXT, IN_TEXT]})
    assert "A PNG is of one image" in detail(several, "invalid-parameter")


def test_an_svg_has_every_picture_and_says_what_the_colours_mean(client: httpx.Client) -> None:
    body = {"images": [IN_TEXT, IN_TEXT], "method": "integrated_gradients", "label": "dog"}
    answer = client.post(EXPLAIN, json=body, headers={"Accept": "image/svg+xml"})
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text.count("data:image/png") == 4
    assert answer.text.count(">against dog<") == answer.text.count(">for dog<") == 2


@pytest.mark.parametrize(
    ("query", "kind", "words"),
    [
        ("method=gradcam", "invalid-parameter", "did you mean `grad_cam`?"),
        ("layer=nowhere", "invalid-parameter", "has no layer 'nowhere'"),
        ("layer=last", "not-explainable", "The nearest layer with one is second"),
        ("layer=first&method=smooth_grad", "invalid-parameter", "`layer` is for grad_cam"),
        ("steps=64", "invalid-parameter", "`steps` is for integrated_gradients and smooth_grad"),
        ("steps=7&method=smooth_grad", "invalid-parameter", "from 8 to 256"),
        ("steps=many&method=smooth_grad", "invalid-parameter", "from 8 to 256"),
        ("format=gif", "invalid-parameter", "json, svg or png"),
        ("model=old", "not-explainable", "Import the model again"),
        ("label=zebra", "invalid-label", "has no label 'zebra'"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(client: httpx.Client, query: str, kind: str, words: str) -> None:
    assert words in detail(client.post(f"{EXPLAIN}?{query}", content=CAT), kind)


def test_a_request_has_sixteen_images_at_most(client: httpx.Client) -> None:
    assert "at most 16" in detail(client.post(EXPLAIN, json={"images": [IN_TEXT] * 17}), "invalid-parameter")


@pytest.fixture
def slow(server: LiveServer) -> Iterator[ServedGraph]:
    """The graph, once its runs take 50 ms for each image."""
    graph = server.state.registry.select("net").graphs["explanation"]
    with server.client() as client:
        assert client.post(EXPLAIN, content=CAT).status_code == 200, "it is loaded now"
    session, seconds = graph.session, graph.seconds_per_image
    assert session is not None
    graph.session, graph.seconds_per_image = SlowSession(session, 0.05), 0.05
    yield graph
    graph.session, graph.seconds_per_image = session, seconds


def test_where_time_is_short_there_are_fewer_steps_and_the_answer_says_so(
    client: httpx.Client, slow: ServedGraph
) -> None:
    query = {"method": "integrated_gradients"}
    answer = client.post(EXPLAIN, params=query, content=CAT, headers={"X-Deadline-Ms": "3000"}).json()
    assert 8 <= answer["steps"] < 64
    assert answer["steps_note"].startswith(f"{answer['steps']} steps, not 64")
    named = client.post(EXPLAIN, params=query | {"steps": 200}, content=CAT, headers={"X-Deadline-Ms": "3000"})
    words = detail(named, "too-busy", 503)
    assert words.startswith("The deadline is too near for 200 steps: about ")
    assert "X-Deadline-Ms, at most the setting deadline_ms (300000)" in words


def explain_instances(client: httpx.Client, model: str = "net", **body: Any) -> httpx.Response:
    return client.post(f"/v1/models/{model}:explain", json=body)


def test_kserve_gets_one_explanation_for_each_instance(client: httpx.Client) -> None:
    instances = [{"b64": IN_TEXT}, {"b64": IN_TEXT, "label": "dog"}, IN_TEXT]
    answer = explain_instances(client, instances=instances, parameters={"label": "bee"}).json()
    assert [one["label"] for one in answer["explanations"]] == ["bee", "dog", "bee"]
    own = client.post(f"{EXPLAIN}?label=dog", content=CAT).json()["samples"][0]
    assert answer["explanations"][1] == own


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "must have `instances`"),
        ({"instances": []}, "is empty"),
        ({"instances": [{"data": IN_TEXT}]}, "An instance is a picture in base64"),
        ({"instances": [IN_TEXT], "parameters": {"depth": 3}}, "There is no parameter 'depth'"),
        ({"instances": [IN_TEXT], "parameters": {"layer": json.loads("[" * 20 + "]" * 20)}}, "nested deeper than"),
        ({"instances": [IN_TEXT], "parameters": {"layer": "last"}}, "has no map of the picture"),
        ({"instances": [IN_TEXT], "parameters": {"layer": 3}}, "`layer` must be a string"),
        ({"instances": [{"b64": IN_TEXT, "label": ["bee"]}]}, "The classes of net exclude each other"),
    ],
)
def test_kserve_gets_errors_in_its_own_shape(client: httpx.Client, body: dict[str, Any], words: str) -> None:
    answer = explain_instances(client, **body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]
    assert explain_instances(client, "nobody", instances=[IN_TEXT]).status_code == 404
