"""The real `tritonclient`, synchronous and asyncio, against a real server: predictions and gradients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from service import __version__
from tests.service.live_server import LiveServer

MODEL = "resnet20"
LAYERS = 20


@pytest.fixture(scope="module")
def address(server: LiveServer) -> str:
    return urlsplit(server.url).netloc


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address)
    yield client
    client.close()


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)


def tensor(name: str, array: NDArray[Any], binary: bool = True) -> triton.InferInput:
    datatype = {"float32": "FP32", "int64": "INT64", "object": "BYTES"}[str(array.dtype)]
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    server = client.get_server_metadata()
    assert (server["name"], server["version"]) == ("contraflow", __version__)
    assert "binary_tensor_data" in server["extensions"]
    metadata = client.get_model_metadata(MODEL)
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]
    shapes = {output["name"]: output["shape"] for output in metadata["outputs"]}
    assert shapes["logits"] == [-1, 10]
    assert shapes["weight_gradient_norm"] == [-1, LAYERS]
    optional = {entry["name"] for entry in client.get_model_config(MODEL)["input"]}
    assert optional == {"input", "image", "label"}


def test_repository_index_and_refused_load(client: triton.InferenceServerClient) -> None:
    assert MODEL in {entry["name"] for entry in client.get_model_repository_index()}
    with pytest.raises(InferenceServerException, match="folder"):
        client.load_model(MODEL)


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_predictions_are_the_same_in_json_and_binary(
    client: triton.InferenceServerClient, images: NDArray[Any], binary_input: bool, binary_output: bool
) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in ("logits", "probabilities")]
    answer = client.infer(MODEL, [tensor("input", images, binary_input)], outputs=outputs, request_id="abc")
    logits, probabilities = answer.as_numpy("logits"), answer.as_numpy("probabilities")
    assert answer.get_response()["id"] == "abc"
    assert logits.shape == (3, 10)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(1, keepdims=True), rtol=1e-5)


def test_without_named_outputs_all_forward_outputs_come(
    client: triton.InferenceServerClient, images: NDArray[Any]
) -> None:
    answer = client.infer(MODEL, [tensor("input", images)])
    assert {output["name"] for output in answer.get_response()["outputs"]} == {"logits", "probabilities"}


def test_gradient_norms_are_those_of_the_diagnostics_endpoint(
    client: triton.InferenceServerClient, server: LiveServer, photograph: bytes
) -> None:
    encoded = np.array([photograph], dtype=object)
    names = ("activation_gradient_norm", "weight_gradient_norm", "scaled_gradient_norm")
    answer = client.infer(
        MODEL,
        [tensor("image", encoded), tensor("label", np.array([3]))],
        outputs=[triton.InferRequestedOutput(name) for name in names],
    )
    with server.client() as http:
        layers = (
            http.post(f"/diagnostics/gradients?model={MODEL}&label=3", content=photograph)
            .raise_for_status()
            .json()["layers"]
        )
    assert len(layers) == LAYERS
    for name in names:
        np.testing.assert_allclose(answer.as_numpy(name)[0], [layer[name][0] for layer in layers], rtol=1e-6)


def test_a_sample_beside_nan_keeps_its_gradients(client: triton.InferenceServerClient, images: NDArray[Any]) -> None:
    output = [triton.InferRequestedOutput("weight_gradient_norm")]
    alone = client.infer(MODEL, [tensor("input", images[:1])], outputs=output).as_numpy("weight_gradient_norm")
    spoiled = images.copy()
    spoiled[1] = np.nan
    beside = client.infer(MODEL, [tensor("input", spoiled)], outputs=output).as_numpy("weight_gradient_norm")
    np.testing.assert_allclose(beside[0], alone[0], rtol=1e-6)
    assert np.isnan(beside[1]).all()


def test_classification_ranks_labels(client: triton.InferenceServerClient, images: NDArray[Any]) -> None:
    output = triton.InferRequestedOutput("probabilities", class_count=3)
    ranked = client.infer(MODEL, [tensor("input", images)], outputs=[output]).as_numpy("probabilities")
    assert ranked.shape == (3, 3)
    values = [float(entry.decode().split(":")[0]) for entry in ranked[0]]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_both_ways(client: triton.InferenceServerClient, images: NDArray[Any], algorithm: str) -> None:
    plain = client.infer(MODEL, [tensor("input", images)]).as_numpy("logits")
    squeezed = client.infer(
        MODEL,
        [tensor("input", images)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(squeezed.as_numpy("logits"), plain)


def test_statistics_count_what_ran(client: triton.InferenceServerClient, images: NDArray[Any]) -> None:
    def images_run() -> int:
        return int(client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"])

    before = images_run()
    client.infer(MODEL, [tensor("input", images)])
    assert images_run() == before + 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input": np.zeros((1, 3, 8, 8), np.float32)}, "shape"),
        ({"input": np.zeros((1, 3, 32, 32), np.float32), "label": np.array([10])}, "label"),
        ({"pixels": np.zeros((1, 3, 32, 32), np.float32)}, "no input"),
        ({"label": np.array([1])}, "Give one of"),
        ({"image": np.array([b"no image"], dtype=object)}, "JPEG"),
    ],
)
def test_wrong_inputs_are_told_in_words(
    client: triton.InferenceServerClient, inputs: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as caught:
        client.infer(MODEL, [tensor(name, array) for name, array in inputs.items()])
    assert caught.value.status() == "400"


def test_an_unknown_model_is_404(client: triton.InferenceServerClient, images: NDArray[Any]) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("nobody", [tensor("input", images)])
    assert caught.value.status() == "404"


def test_the_asyncio_client_agrees(address: str, images: NDArray[Any], client: triton.InferenceServerClient) -> None:
    async def infer() -> NDArray[Any]:
        async with triton_aio.InferenceServerClient(address) as aio:
            given = triton_aio.InferInput("input", list(images.shape), "FP32")
            given.set_data_from_numpy(images)
            answer = await aio.infer(MODEL, [given])
            result: NDArray[Any] = answer.as_numpy("logits")
            return result

    expected = client.infer(MODEL, [tensor("input", images)]).as_numpy("logits")
    np.testing.assert_array_equal(asyncio.run(infer()), expected)
