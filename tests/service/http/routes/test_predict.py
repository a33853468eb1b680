"""`POST /predict` over a real socket: bodies, choices, and the shape of answers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.live_server import best_label, picture, running
from tests.service.responses import check_problem
from tests.service.tiny_bundles import write_bundle

RED, GREEN, BLUE = picture("red"), picture((0, 255, 0)), picture("blue")


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_raw_body_is_one_image_whatever_its_content_type(client: httpx.Client) -> None:
    for content_type in ("image/png", "application/x-www-form-urlencoded", "text/plain", ""):
        assert best_label(client.post("/predict", content=RED, headers={"content-type": content_type})) == "red"


def test_an_answer_names_the_model_the_bundle_the_provider_and_the_request(client: httpx.Client) -> None:
    answer = client.post("/predict", content=RED, headers={"x-request-id": "mine-1"}).json()
    assert answer.keys() == {"model", "version", "bundle", "execution_provider", "request_id", "predictions"}
    assert (answer["model"], answer["version"], answer["request_id"]) == ("other", "1", "mine-1")
    assert answer["execution_provider"] == "CPUExecutionProvider"
    assert answer["bundle"] == client.get("/models/other").json()["bundle"]


def test_labels_are_ranked_with_their_softmax_probabilities(client: httpx.Client) -> None:
    labels = client.post("/predict", content=picture((255, 102, 51))).json()["predictions"][0]["labels"]
    expected = np.exp(10 * np.array([1.0, 0.4, 0.2])) / np.exp(10 * np.array([1.0, 0.4, 0.2])).sum()
    assert [entry["label"] for entry in labels] == ["red", "green", "blue"]
    assert [entry["index"] for entry in labels] == [0, 1, 2]
    np.testing.assert_allclose([entry["probability"] for entry in labels], expected, rtol=1e-5)


@pytest.mark.parametrize(("top_k", "number"), [("1", 1), ("2", 2), ("3", 3), ("100", 3)])
def test_top_k_says_how_many_labels(client: httpx.Client, top_k: str, number: int) -> None:
    answer = client.post("/predict", params={"top_k": top_k}, content=RED)
    assert len(answer.json()["predictions"][0]["labels"]) == number


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ({"model": "tiny"}, "blue"),
        ({"model": "tiny", "version": "1"}, "red"),
        ({"model": "tiny@1"}, "red"),
        ({"model": "tiny", "version": "2"}, "blue"),
        ({}, "red"),
    ],
)
def test_model_and_version_choose_and_the_highest_version_is_the_default(
    client: httpx.Client, query: dict[str, str], label: str
) -> None:
    assert best_label(client.post("/predict", params=query, content=RED)) == label


def test_multipart_parts_are_answered_in_order(client: httpx.Client) -> None:
    files = [("images", data) for data in (GREEN, RED, BLUE)]
    answer = client.post("/predict", files=files, data={"model": "other", "top_k": "1"})
    assert [best_label(answer, index) for index in range(3)] == ["green", "red", "blue"]
    assert len(answer.json()["predictions"][0]["labels"]) == 1


def test_a_misspelt_option_is_refused_with_the_name_that_was_meant(client: httpx.Client) -> None:
    for answer in (
        client.post("/predict", params={"topk": 3}, content=RED),
        client.post("/predict", json={"images": [base64.b64encode(RED).decode()], "topk": 3}),
        client.post("/predict", files={"images": RED}, data={"topk": "3"}),
    ):
        assert answer.status_code == 422
        assert "did you mean `top_k`?" in answer.json()["detail"]


def test_a_label_is_no_mistake_where_none_is_needed(client: httpx.Client) -> None:
    assert best_label(client.post("/predict", params={"label": "red"}, content=RED)) == "red"


def test_json_takes_base64_strings_and_objects_and_its_fields_win_over_the_query(client: httpx.Client) -> None:
    body = {"images": [as_base64(GREEN), {"data": as_base64(RED), "label": "red"}], "top_k": 1, "model": "other"}
    answer = client.post("/predict", params={"top_k": 3, "model": "tiny"}, json=body)
    assert [best_label(answer, index) for index in range(2)] == ["green", "red"]
    assert len(answer.json()["predictions"][0]["labels"]) == 1


def test_a_data_url_is_base64_too(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": ["data:image/png;base64," + as_base64(BLUE)]})
    assert best_label(answer) == "blue"


MALFORMED: dict[str, tuple[int, dict[str, Any]]] = {
    "an empty body": (400, {"content": b""}),
    "an empty JSON body": (400, {"content": b"", "headers": {"content-type": "application/json"}}),
    "broken JSON": (400, {"content": b'{"images":', "headers": {"content-type": "application/json"}}),
    "JSON that is no object": (400, {"json": ["x"]}),
    "JSON without images": (400, {"json": {}}),
    "JSON with images that are a number": (400, {"json": {"images": 7}}),
    "JSON with no image in the list": (400, {"json": {"images": []}}),
    "JSON with a number for an image": (400, {"json": {"images": [7]}}),
    "JSON with bad base64": (400, {"json": {"images": ["%%%"]}}),
    "JSON with an empty image": (400, {"json": {"images": [""]}}),
    "JSON nested deeply": (400, {"json": {"images": [], "x": json.loads("[" * 50 + "]" * 50)}}),
    "JSON nested to the parser's limit": (
        400,
        {"content": b'{"images":' + b"[" * 90_000, "headers": {"content-type": "application/json"}},
    ),
    "JSON with a million values": (
        413,
        {"content": b'{"images":[' + b"{}," * 200_000, "headers": {"content-type": "application/json"}},
    ),
    "too many images": (413, {"json": {"images": [as_base64(RED)] * 9}}),
    "multipart without a boundary": (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
    "multipart that is none": (
        400,
        {"content": b"nothing", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ),
    "multipart cut short": (
        400,
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\nabc',
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
    ),
    "multipart without images": (400, {"files": {"other": (None, b"text")}}),
    "multipart with a file that is no image": (415, {"files": {"other": b"text"}}),
    "text": (415, {"content": b"I am no image"}),
    "top_k of zero": (422, {"params": {"top_k": "0"}, "content": RED}),
    "top_k in words": (422, {"params": {"top_k": "five"}, "content": RED}),
    "top_k that is no integer": (422, {"json": {"images": [as_base64(RED)], "top_k": 1.5}}),
    "a model that is not served": (404, {"params": {"model": "nobody"}, "content": RED}),
    "a version that is not served": (404, {"params": {"model": "tiny", "version": "9"}, "content": RED}),
    "two models": (422, {"params": {"model": ["tiny", "other"]}, "content": RED}),
    "a model that is a number": (422, {"json": {"images": [as_base64(RED)], "model": 3}}),
    "a deadline in words": (400, {"headers": {"x-deadline-ms": "soon"}, "content": RED}),
    "a deadline in the past": (400, {"headers": {"x-deadline-ms": "-5"}, "content": RED}),
    "a thousand parameters": (400, {"params": {f"p{i}": "1" for i in range(1000)}, "content": RED}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_gets_its_status_and_a_problem_document(client: httpx.Client, case: str) -> None:
    status, request = MALFORMED[case]
    answer = client.post("/predict", **request)
    assert answer.status_code == status, answer.text
    check_problem(answer)


def test_every_answer_has_the_common_headers(client: httpx.Client) -> None:
    for answer in (client.post("/predict", content=RED), client.get("/nowhere"), client.get("/models")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
        stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
        assert stages == ["decode", "queue", "run", "serialize"]


def test_a_wrong_method_and_a_wrong_address_are_problems_too(client: httpx.Client) -> None:
    wrong_method = client.get("/predict")
    assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "OPTIONS, POST")
    for answer in (wrong_method, client.get("/nowhere"), client.delete("/models")):
        check_problem(answer)


def test_numbers_that_are_not_finite_are_written_as_strings(client: httpx.Client, tmp_path: Path) -> None:
    write_bundle(tmp_path, "sick", bias=(float("nan"), 0.0, 0.0))
    with running(tmp_path) as server, server.client() as other:
        labels = other.post("/predict", content=RED).json()["predictions"][0]["labels"]
    assert {entry["probability"] for entry in labels} == {"NaN"}
