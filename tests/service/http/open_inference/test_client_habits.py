"""Variants of infer requests that real clients send: null for what is left out, pictures in base64, compression."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.live_server import PATIENCE_SECONDS, LiveServer

INFER = "/v2/models/resnet20/infer"
HEADER = "Inference-Header-Content-Length"
PIXELS = np.random.default_rng(3).normal(size=(1, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def probabilities(server: LiveServer, photograph: bytes) -> list[float]:
    """The probabilities that `/predict` gives the photograph, by class."""
    answer = httpx.post(
        f"{server.url}/predict?model=resnet20&top_k=10", content=photograph, timeout=PATIENCE_SECONDS
    ).json()
    ranked = {entry["index"]: entry["probability"] for entry in answer["predictions"][0]["labels"]}
    return [ranked[index] for index in range(10)]


def outputs_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    return str(answer.json()["error"])


def document(**changes: Any) -> dict[str, Any]:
    one = {"name": "input", "datatype": "FP32", "shape": list(PIXELS.shape), "data": PIXELS.ravel().tolist()}
    return {"inputs": [one | changes]}


JACKSON = (
    '{"id":null,"parameters":null,"inputs":[{"name":"input","shape":[1,3,32,32],"datatype":"FP32","parameters":null,'
    '"data":%s}],"outputs":null}'
)
PYDANTIC = (
    '{"id": null, "parameters": null, "inputs": [{"name": "input", "shape": [1, 3, 32, 32], "datatype": "FP32", '
    '"parameters": {"content_type": "np", "headers": null}, "data": %s}], '
    '"outputs": [{"name": "probabilities", "parameters": null}]}'
)
DOTNET = (
    '{\r\n  "id": null,\r\n  "inputs": [\r\n    {\r\n      "name": "input",\r\n      "shape": [1, 3, 32, 32],\r\n'
    '      "datatype": "FP32",\r\n      "parameters": null,\r\n      "data": %s\r\n    }\r\n  ],\r\n'
    '  "parameters": {"binary_data_output": null, "gradients": null},\r\n'
    '  "outputs": [{"name": "probabilities", "parameters": {"binary_data": null, "classification": null}}]\r\n}'
)


@pytest.mark.parametrize("written", [JACKSON, PYDANTIC, DOTNET], ids=["Jackson", "pydantic", ".NET"])
def test_null_stands_for_what_is_left_out(http: httpx.Client, written: str) -> None:
    plain = outputs_of(http.post(INFER, json=document()))
    answer = http.post(INFER, content=written % json.dumps(PIXELS.ravel().tolist()))
    assert outputs_of(answer)["probabilities"] == plain["probabilities"]
    assert "id" not in answer.json()


def test_null_beside_binary_data(http: httpx.Client) -> None:
    raw = PIXELS.tobytes()
    parameters = {"binary_data_size": len(raw), "content_type": None}
    start = json.dumps(document(data=None, parameters=parameters) | {"parameters": None}).encode()
    answer = http.post(INFER, content=start + raw, headers={HEADER: str(len(start))})
    plain = outputs_of(http.post(INFER, json=document()))
    assert outputs_of(answer)["logits"] == plain["logits"]


def test_fields_that_are_not_known_are_left_out_of_account(http: httpx.Client) -> None:
    extended = document(extra={"a": [None]}, parameters={"content_type": "np", "unknown": None})
    answer = http.post(INFER, json=extended | {"raw_request": None, "parameters": {"priority": 3, "headers": {}}})
    assert len(outputs_of(answer)["logits"]) == 10


@pytest.mark.parametrize("name", ["parameters", "outputs"])
@pytest.mark.parametrize("value", [False, 0, "", 7])
def test_only_null_is_nothing(http: httpx.Client, name: str, value: object) -> None:
    assert "must be" in refusal(http.post(INFER, json=document() | {name: value}))


def of_picture(data: Any, **changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data} | changes]}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"shape": [1, 1]},
        {"shape": []},
        {"shape": [-1]},
        {"shape": [-1, 1]},
        {"shape": -1},
        {"shape": None},
        {"parameters": {"content_type": "base64"}},
        {"parameters": {"content_type": "str"}},
        {"parameters": None},
    ],
    ids=json.dumps,
)
def test_a_picture_in_base64_is_the_picture(
    http: httpx.Client, photograph: bytes, probabilities: list[float], how: dict[str, Any]
) -> None:
    text = base64.b64encode(photograph).decode()
    answers = [http.post(INFER, json=of_picture(data, **how)) for data in ([text], [[text]])]
    for answer in answers:
        assert outputs_of(answer)["probabilities"] == pytest.approx(probabilities, rel=1e-5)


def test_the_request_of_kserves_torchserve_example(
    http: httpx.Client, photograph: bytes, probabilities: list[float]
) -> None:
    """`data` is one string instead of a list, and `shape` is −1."""
    picture = {"data": base64.b64encode(photograph).decode(), "datatype": "BYTES", "name": "image", "shape": -1}
    answer = http.post(INFER, json={"id": "d3b15cad", "inputs": [picture]})
    assert answer.json()["id"] == "d3b15cad"
    assert outputs_of(answer)["probabilities"] == pytest.approx(probabilities, rel=1e-5)


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2], None, -1])
def test_several_pictures_come_back_in_order(http: httpx.Client, photograph: bytes, shape: Any) -> None:
    texts = [base64.encodebytes(photograph).decode(), "data:image/jpeg;base64," + base64.b64encode(photograph).decode()]
    answer = http.post(INFER, json=of_picture(texts, shape=shape) | {"outputs": [{"name": "logits"}]})
    logits = outputs_of(answer)["logits"]
    assert len(logits) == 20
    assert logits[:10] == pytest.approx(logits[10:], rel=1e-5)


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        (of_picture(["!!!!"]), "not valid base64"),
        (of_picture(["http://127.0.0.1:1/x.jpg"]), "URLs are not fetched"),
        (of_picture([255, 216, 255]), "must be strings"),
        (of_picture(None), "must be strings"),
        (of_picture(["AAAA"], shape=[2]), "has 1 elements"),
        (of_picture(["AAAA"], shape=[-2]), "not negative"),
        (of_picture([]), "has 0 elements"),
        (of_picture([], shape=None), "empty"),
        (of_picture(["AAAA"]), "begin like none"),
        (document(name="input-0"), "the inputs are `input` (FP32, [-1, 3, 32, 32])"),
        (document(datatype="UINT8"), "in the input `image`"),
        (of_picture([1, 2], datatype="UINT8"), "each element is a file"),
        (document(datatype="FP64"), "must be FP32, not FP64"),
        (document(shape=None), "needs a shape"),
        (document(shape=[-1, 3, 32, 32]), "not negative"),
        (document(data=None), "must be a list"),
        (document(name=None), "needs a name"),
        (document(parameters={"binary_data_size": None}, data=None), "must be a list"),
    ],
)
def test_a_refusal_names_what_is_wanted(http: httpx.Client, request_body: dict[str, Any], words: str) -> None:
    assert words in refusal(http.post(INFER, json=request_body))


def test_a_picture_as_the_whole_body_is_told_the_header_that_it_needs(http: httpx.Client, photograph: bytes) -> None:
    assert f"{HEADER}: 0" in refusal(http.post(INFER, content=photograph))


def test_a_body_may_be_coded_and_its_head_is_as_long_as_it_is_without(http: httpx.Client) -> None:
    raw = PIXELS.tobytes()
    start = json.dumps(document(data=None, parameters={"binary_data_size": len(raw)})).encode()
    plain = outputs_of(http.post(INFER, json=document()))
    for coding, body in {
        "gzip": gzip.compress(start) + gzip.compress(raw),
        "X-GZIP": gzip.compress(start + raw),
        "deflate": zlib.compress(start + raw),
        "identity": start + raw,
    }.items():
        headers = {HEADER: str(len(start)), "content-encoding": coding}
        assert outputs_of(http.post(INFER, content=body, headers=headers))["logits"] == plain["logits"]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.3, deflate;q=0.4", "deflate"),
        ("identity, gzip;q=0.5", None),
        ("br", None),
        ("", None),
    ],
)
def test_an_answer_is_compressed_only_for_who_takes_it(http: httpx.Client, accepted: str, coding: str | None) -> None:
    asked = document() | {"outputs": [{"name": "probabilities"}, {"name": "logits"}, {"name": "input_gradient"}]}
    answer = http.post(INFER, json=asked, headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert len(outputs_of(answer)["input_gradient"]) == PIXELS.size


def test_mlservers_own_types_and_codecs(http: httpx.Client, photograph: bytes, probabilities: list[float]) -> None:
    types = pytest.importorskip("mlserver.types")
    codecs = pytest.importorskip("mlserver.codecs")
    for text in (True, False):
        picture = codecs.Base64Codec.encode_input("image", [photograph], use_bytes=text)
        asked = types.InferenceRequest(inputs=[picture])
        answer = http.post(INFER, content=asked.model_dump_json())
        read = types.InferenceResponse.model_validate_json(answer.content)
        found = codecs.NumpyCodec.decode_output(read.outputs[1])
        assert found[0].tolist() == pytest.approx(probabilities, rel=1e-5)
    tensor = codecs.NumpyCodec.encode_input("input", PIXELS)
    with_nulls = types.InferenceRequest(
        inputs=[tensor], outputs=[types.RequestOutput(name="logits")], parameters=types.Parameters(content_type="np")
    )
    plain = outputs_of(http.post(INFER, json=document()))
    for content in (with_nulls.model_dump_json(), json.dumps(with_nulls.model_dump(exclude_none=False))):
        assert outputs_of(http.post(INFER, content=content))["logits"] == plain["logits"]
