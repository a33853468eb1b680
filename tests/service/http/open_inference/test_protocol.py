"""The protocol to the byte: the raw form, headers, and requests that no client library would send."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.service.live_server import LiveServer

INFER = "/v2/models/resnet20/infer"
HEADER = "Inference-Header-Content-Length"


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_a_photograph_as_the_whole_body(http: httpx.Client, photograph: bytes) -> None:
    answer = http.post(INFER, content=photograph, headers={HEADER: "0"})
    assert answer.status_code == 200
    assert HEADER.lower() not in answer.headers
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    predicted = http.post("/predict?model=resnet20&top_k=1", content=photograph).json()
    best = predicted["predictions"][0]["labels"][0]
    assert outputs["probabilities"]["data"][best["index"]] == pytest.approx(best["probability"], rel=1e-6)


def test_health_answers_satisfy_specification_and_kserve(http: httpx.Client) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert http.get("/v2/models/resnet20/versions/1/ready").json() == {"name": "resnet20", "ready": True}
    assert "resnet20" in http.get("/v2/models").json()["models"]


def test_the_index_has_what_is_not_served_too_unless_only_what_is_ready_is_wanted(client: httpx.Client) -> None:
    def states(**body: object) -> set[str]:
        return {entry["state"] for entry in client.post("/v2/repository/index", json=body).json()}

    assert (states(), states(ready=False), states(ready=True)) == (
        {"READY", "UNAVAILABLE"},
        {"READY", "UNAVAILABLE"},
        {"READY"},
    )
    for body in (b"[]", b'{"ready": "yes"}', b"no JSON"):
        assert client.post("/v2/repository/index", content=body).status_code == 400


ONE = {"name": "input", "datatype": "FP32", "shape": [1, 3, 32, 32]}
GOOD = json.dumps({"inputs": [{**ONE, "data": [0.5] * 3072}]}).encode()


def of(**changes: object) -> bytes:
    return json.dumps({"inputs": [{**ONE, "data": [0.5] * 3072, **changes}]}).encode()


BAD_REQUESTS = {
    "nothing": (b"", {}),
    "no JSON": (b"cat", {}),
    "a list": (b"[]", {}),
    "deep nesting": (b"[" * 100_000, {}),
    "no inputs": (b'{"inputs": []}', {}),
    "too few elements": (of(data=[1.0]), {}),
    "text for numbers": (of(data=["x"] * 3072), {}),
    "ragged": (of(data=[[1.0], [1.0, 2.0]]), {}),
    "a negative size": (of(shape=[-1, 3, 32, 32]), {}),
    "a huge size": (of(shape=[2**40, 3, 32, 32]), {}),
    "an unknown datatype": (of(datatype="FP31"), {}),
    "the same input twice": (json.dumps({"inputs": [{**ONE, "data": [0] * 3072}] * 2}).encode(), {}),
    "an unknown output": (GOOD[:-1] + b', "outputs": [{"name": "cat"}]}', {}),
    "a header length outside the body": (GOOD, {HEADER: str(len(GOOD) + 1)}),
    "a header length that is no number": (GOOD, {HEADER: "-1"}),
    "spare bytes": (GOOD + b"1234", {HEADER: str(len(GOOD))}),
    "missing bytes": (of(data=None, parameters={"binary_data_size": 12288}), {}),
    "data and bytes": (of(parameters={"binary_data_size": 0}), {}),
    "a gzip that is none": (GOOD, {"Content-Encoding": "gzip"}),
    "a gzip cut off": (gzip.compress(GOOD)[:-9], {"Content-Encoding": "gzip"}),
    "another coding": (GOOD, {"Content-Encoding": "br"}),
    "no image": (b"no image", {HEADER: "0"}),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_get_400_in_the_protocols_own_shape(http: httpx.Client, case: str) -> None:
    body, headers = BAD_REQUESTS[case]
    answer = http.post(INFER, content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}


def test_a_gzip_bomb_is_stopped_at_the_limit(http: httpx.Client) -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    answer = http.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_unknown_addresses_have_the_protocols_error_shape(http: httpx.Client) -> None:
    answer = http.get("/v2/nothing/here")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_numbers_that_are_not_finite_still_parse(http: httpx.Client) -> None:
    answer = http.post(INFER, content=of(data=[1e38] * 3072))
    assert answer.status_code == 200
    assert len(answer.json()["outputs"][0]["data"]) == 10
