"""`/diagnostics/…` over HTTP, on the shipped bundles and photographs."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.diagnostics.schemas.features import Features
from service.diagnostics.schemas.gradients import Comparison, Gradients, SampleLoss
from service.diagnostics.schemas.scores import Scores
from service.diagnostics.schemas.shattering import Shattering
from service.diagnostics.verdicts.thresholds import Thresholds
from tests.service.live_server import LiveServer, running, wait_until

ROOT = Path(__file__).parents[3]
PHOTOGRAPHS = ROOT / "tests" / "photographs"
CAT = (PHOTOGRAPHS / "cat.jpg").read_bytes()
NAMES = ("cat", "dog", "ship", "truck")


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with running(ROOT / "models" / "bundles", default_model="resnet20") as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def ask(client: httpx.Client, address: str, **request: Any) -> httpx.Response:
    """Ask until the graphs that the answer needs are loaded."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(client.post(f"/diagnostics/{address}", timeout=120, **request))
        return answers[-1].status_code != 503

    wait_until(answered)
    return answers[-1]


def labelled(*names: str) -> list[dict[str, str]]:
    return [
        {"data": base64.b64encode((PHOTOGRAPHS / f"{name}.jpg").read_bytes()).decode(), "label": name} for name in names
    ]


def test_a_photograph_answers_with_every_layer_of_resnet20(client: httpx.Client) -> None:
    answer = Gradients.model_validate(ask(client, "gradients", content=CAT).json())
    assert [layer.name for layer in answer.layers][::19] == ["stem", "classifier"]
    assert len(answer.layers) == 20
    assert all(layer.scaled_gradient_norm[0] > 0 for layer in answer.layers)
    assert answer.verdict.state == "healthy"
    (sample,) = answer.samples
    assert isinstance(sample, SampleLoss)
    assert sample.label == sample.predicted_label
    assert answer.layers[0].batch_gradient_norm is None
    assert len(answer.other_parameters) == 38  # scale and shift of 19 normalizations


@pytest.mark.parametrize("label", ["cat", "3"])
def test_a_label_is_taken_by_name_or_index(client: httpx.Client, label: str) -> None:
    sample = ask(client, f"gradients?label={label}", content=CAT).json()["samples"][0]
    assert (sample["label"], sample["index"]) == ("cat", 3)


@pytest.mark.parametrize(
    "query", ["label=99", "label=zebra", "include=everything", "decay_ratio=x", "decay_ratio=-1", "format=png"]
)
def test_a_parameter_that_is_not_allowed_is_refused(client: httpx.Client, query: str) -> None:
    answer = ask(client, f"gradients?{query}", content=CAT)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_included_comes_with_a_noise_scale_when_images_are_labelled(client: httpx.Client) -> None:
    body = {"images": labelled(*NAMES), "include": "batch_gradient,input_gradient,activations"}
    answer = Gradients.model_validate(ask(client, "gradients", json=body).json())
    assert [sample.label for sample in answer.samples if isinstance(sample, SampleLoss)] == list(NAMES)
    assert answer.noise_scale is not None
    assert answer.input_gradients is not None
    assert answer.input_gradients[0].picture.startswith("data:image/png;base64,")
    for layer in answer.layers:
        assert layer.batch_gradient_norm is not None
        # The norm of a mean is at most the mean of the norms.
        assert layer.batch_gradient_norm <= sum(layer.weight_gradient_norm) / len(NAMES) * (1 + 1e-5)
        assert layer.activations is not None


def test_an_image_has_the_same_norms_alone_and_among_others(client: httpx.Client) -> None:
    alone = ask(client, "gradients?label=cat", content=CAT).json()["layers"]
    together = ask(client, "gradients", json={"images": labelled(*NAMES)}).json()["layers"]
    for one, other in zip(alone, together, strict=True):
        assert other["scaled_gradient_norm"][0] == pytest.approx(one["scaled_gradient_norm"][0], rel=1e-5)


IN_BASE64 = base64.b64encode(CAT).decode()


@pytest.mark.parametrize(
    "request_of",
    [
        {"address": "gradients?deviation_ratio=1.1", "content": CAT},
        {"address": "gradients", "json": {"images": [IN_BASE64], "deviation_ratio": 1.1}},
        {"address": "gradients", "json": {"images": [IN_BASE64], "thresholds": {"deviation_ratio": 1.1}}},
        {"address": "gradients", "files": {"images": CAT}, "data": {"deviation_ratio": "1.1"}},
    ],
    ids=["query", "field", "object", "form"],
)
def test_a_threshold_can_be_overridden_and_is_named(client: httpx.Client, request_of: dict[str, Any]) -> None:
    verdict = ask(client, **request_of).json()["verdict"]
    assert verdict["state"] == "imbalanced"
    assert verdict["thresholds"]["deviation_ratio"] == 1.1
    assert verdict["findings"][0]["layers"]


@pytest.mark.parametrize("thresholds", [{"nonsense": 1}, {"decay_ratio": True}, {"decay_ratio": "NaN"}, [1], "x"])
def test_thresholds_of_the_wrong_kind_are_refused(client: httpx.Client, thresholds: Any) -> None:
    assert ask(client, "gradients", json={"images": [IN_BASE64], "thresholds": thresholds}).status_code == 422


@pytest.mark.parametrize("endpoint", ["gradients", "compare"])
def test_every_threshold_is_documented_with_default_and_source(client: httpx.Client, endpoint: str) -> None:
    post = client.get("/openapi.json").json()["paths"][f"/diagnostics/{endpoint}"]["post"]
    documented = {parameter["name"]: parameter for parameter in post["parameters"]}
    in_body = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for name, default in asdict(Thresholds()).items():
        assert in_body[name]["default"] == default
        assert "default" not in documented[name]["schema"], "a form would send it"
        assert re.search(rf"source: .*; default: {re.escape(f'{default:.3g}')}$", documented[name]["description"])


def test_models_are_compared_layer_by_layer(client: httpx.Client) -> None:
    answer = Comparison.model_validate(ask(client, "compare?model=resnet20&model=plain20", content=CAT).json())
    assert [model.model for model in answer.models] == ["resnet20", "plain20"]
    assert len(answer.differences) == 20
    assert {difference.matched_by for difference in answer.differences} == {"name"}
    same = Comparison.model_validate(ask(client, "compare?model=resnet20&model=resnet20@1", content=CAT).json())
    assert not any(difference.moved for difference in same.differences)


def test_flips_between_compared_models_are_counted_on_labelled_images(client: httpx.Client) -> None:
    images = labelled("cat", "dog", "ship")
    images[2]["label"] = "frog"
    body = {"images": images, "model": ["resnet20", "plain20", "plain20-sigmoid"]}
    answer = Comparison.model_validate(ask(client, "compare", json=body).json())
    first, *others = [
        [sample.label == sample.predicted_label for sample in model.samples if isinstance(sample, SampleLoss)]
        for model in answer.models
    ]
    assert len(answer.flips) == 2
    for found, other in zip(answer.flips, others, strict=True):
        assert found is not None
        assert found.images == 3
        assert found.negative.count == sum(a and not b for a, b in zip(first, other, strict=True))
        assert found.accuracy_now.count == sum(other)
    unlabelled = Comparison.model_validate(ask(client, "compare?model=resnet20&model=plain20", content=CAT).json())
    assert unlabelled.flips == [None]


def test_comparing_takes_two_models(client: httpx.Client) -> None:
    assert ask(client, "compare?model=resnet20", content=CAT).status_code == 422


def test_a_trained_network_is_not_shattered_along_a_path(client: httpx.Client) -> None:
    body = {"images": labelled("cat", "dog"), "points": 32}
    answer = Shattering.model_validate(ask(client, "shattering", json=body).json())
    assert answer.points == len(answer.correlation) == len(answer.gradient_norm) == 32
    assert answer.verdict.state == "smooth"
    assert all(answer.correlation[i][i] == pytest.approx(1) for i in range(32))


@pytest.mark.parametrize("points", [1, 1e9, 33.5, "many"])
def test_the_number_of_points_is_bounded(client: httpx.Client, points: Any) -> None:
    assert ask(client, "shattering", json={"images": labelled("cat"), "points": points}).status_code == 422


def test_scores_of_labels_come_only_with_labels(client: httpx.Client) -> None:
    with_labels = Scores.model_validate(ask(client, "scores", json={"images": labelled("cat", "ship")}).json())
    without = Scores.model_validate(ask(client, "scores", content=CAT).json())
    assert with_labels.samples[0].el2n is not None
    assert without.samples[0].el2n is without.samples[0].grand is None
    assert without.samples[0].layer_norm_distance == pytest.approx(with_labels.samples[0].layer_norm_distance, rel=1e-3)


def test_features_show_each_layers_strongest_channels(client: httpx.Client) -> None:
    answer = Features.model_validate(ask(client, "features?channels=3", content=CAT).json())
    layers = answer.samples[0].layers
    assert {len(layer.channels) for layer in layers} <= {3, 10}
    assert (layers[0].height, layers[0].width) == (32, 32)
    assert answer.samples[0].saliency is not None


@pytest.mark.parametrize("way", ["accept", "format"])
@pytest.mark.parametrize(
    "endpoint", ["gradients?", "compare?model=resnet20&model=plain20", "shattering?points=16", "scores?", "features?"]
)
def test_every_diagnosis_can_be_had_as_a_plot(client: httpx.Client, endpoint: str, way: str) -> None:
    if way == "accept":
        answer = ask(client, endpoint, content=CAT, headers={"Accept": "image/svg+xml"})
    else:
        answer = ask(client, f"{endpoint}&format=svg", content=CAT)
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.text.lstrip().startswith(("<svg", "<?xml"))


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (["image/svg+xml;q=0, application/json"], "application/json"),
        (["application/json, application/problem+json, image/svg+xml"], "application/json"),
        (["*/*"], "application/json"),
        (["text/html"], "application/json"),
        (["image/svg+xml, */*;q=0.1"], "image/svg+xml"),
        (["application/json;q=0.5", "image/svg+xml;q=0.6"], "image/svg+xml"),
        (["application/json", "image/svg+xml;q=0.6"], "application/json"),
    ],
)
def test_a_plot_goes_to_who_prefers_it(client: httpx.Client, accept: list[str], media_type: str) -> None:
    answer = ask(client, "scores", content=CAT, headers=[("accept", one) for one in accept])
    assert answer.headers["content-type"] == media_type
    assert answer.headers["vary"] == "accept"


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("?format=svg", "application/json", "image/svg+xml"),
        ("?format=json", "image/svg+xml", "application/json"),
        ("?format=", "image/svg+xml", "image/svg+xml"),
    ],
)
def test_the_format_that_is_asked_for_wins_over_accept(
    client: httpx.Client, query: str, accept: str, media_type: str
) -> None:
    answer = ask(client, f"scores{query}", content=CAT, headers={"accept": accept})
    assert answer.headers["content-type"] == media_type


def test_include_may_be_repeated_and_null_or_empty_options_are_not_given(client: httpx.Client) -> None:
    query = "include=batch_gradient&include=input_gradient&label=&model=&growth_ratio="
    repeated = ask(client, f"gradients?{query}", content=CAT).json()
    document = {"images": base64.b64encode(CAT).decode(), "include": ["batch_gradient", "input_gradient"]}
    nothing = {"label": None, "labels": None, "model": None, "thresholds": None, "growth_ratio": None, "format": None}
    together = ask(client, "gradients", json=document | nothing).json()
    for answer in (repeated, together):
        assert answer["layers"][0]["batch_gradient_norm"] > 0
        assert answer["input_gradients"]
    assert repeated["samples"] == together["samples"]


def test_a_blank_label_is_none_wherever_it_stands(client: httpx.Client) -> None:
    image = base64.b64encode(CAT).decode()
    bodies = [
        {"images": [{"data": image, "label": ""}]},
        {"images": [image], "labels": [" "]},
        {"images": [image], "labels": "", "label": None},
    ]
    unlabelled = ask(client, "scores", content=CAT).json()["samples"]
    assert unlabelled[0]["el2n"] is None
    for body in bodies:
        assert ask(client, "scores", json=body).json()["samples"] == unlabelled


def test_a_diagnosis_takes_files_under_any_name_and_coded_bodies(client: httpx.Client) -> None:
    raw = ask(client, "scores", content=CAT).json()
    form = ask(client, "scores", files={"file": ("a.jpg", CAT)}).json()
    coded = ask(client, "scores", content=gzip.compress(CAT), headers={"content-encoding": "gzip"}).json()
    text = ask(client, "scores", content=json.dumps({"image": base64.b64encode(CAT).decode()})).json()
    assert raw["samples"] == form["samples"] == coded["samples"] == text["samples"]


def test_features_come_with_the_record_of_class_separability_by_depth(client: httpx.Client) -> None:
    answer = Features.model_validate(ask(client, "features?model=resnet20&channels=1", content=CAT).json())
    record = answer.separability
    assert record is not None
    assert list(record.nearest_mean)[::19] == ["stem", "classifier"]
    assert record.chance == 0.1
    assert record.nearest_mean["stem"] < record.nearest_mean["classifier"]
    assert [layer.separability for layer in answer.samples[0].layers] == [
        record.nearest_mean[layer.name] for layer in answer.samples[0].layers
    ]
