"""Explanations as named outputs, read by the real `tritonclient`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.service.explained_bundles import MAPS, write_explained
from tests.service.live_server import LiveServer, running

NAMES = ("grad_cam", "layer_evidence", "logit_gradient")
IMAGES = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("explained") / "bundles"
    write_explained(folder, "net")
    write_explained(folder, "labels", independent=True)
    with running(folder, warm_up=False) as server:
        yield server


@pytest.fixture
def client(explained: LiveServer) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(urlsplit(explained.url).netloc)
    yield client
    client.close()


def infer(
    client: triton.InferenceServerClient, names: tuple[str, ...], model: str = "net", labels: Any = None, **more: Any
) -> dict[str, NDArray[Any]]:
    inputs = [triton.InferInput("input", list(IMAGES.shape), "FP32")]
    inputs[0].set_data_from_numpy(IMAGES)
    if labels is not None:
        given = np.array(labels, np.int64)
        inputs.append(triton.InferInput("label", list(given.shape), "INT64"))
        inputs[1].set_data_from_numpy(given)
    outputs = [triton.InferRequestedOutput(name) for name in names]
    answer = client.infer(model, inputs, outputs=outputs, **more)
    return {name: answer.as_numpy(name) for name in names}


def test_metadata_have_them(client: triton.InferenceServerClient) -> None:
    listed = {one["name"]: (one["datatype"], one["shape"]) for one in client.get_model_metadata("net")["outputs"]}
    assert [listed[name] for name in NAMES] == [
        ("FP64", [-1, -1, -1]),
        ("FP64", [-1, -1, -1]),
        ("FP64", [-1, 3, 16, 16]),
    ]


def test_the_map_is_that_of_the_layer_that_a_parameter_names(client: triton.InferenceServerClient) -> None:
    for layer, size in MAPS.items():
        found = infer(client, NAMES[:2], labels=[1, 2], parameters={"layer": layer})
        assert found["layer_evidence"].shape == (2, *size)
        np.testing.assert_array_equal(found["grad_cam"], np.maximum(found["layer_evidence"], 0))
    last = infer(client, NAMES[:2], labels=[1, 2])
    np.testing.assert_array_equal(last["layer_evidence"], found["layer_evidence"])


def test_everything_comes_together_and_beside_other_outputs(client: triton.InferenceServerClient) -> None:
    found = infer(client, (*NAMES, "probabilities", "weight_gradient_norm"), labels=[1, 2])
    assert found["logit_gradient"].shape == IMAGES.shape
    assert found["probabilities"].shape == (2, 4)
    alone = infer(client, ("logit_gradient",), labels=[1, 2])
    np.testing.assert_array_equal(found["logit_gradient"], alone["logit_gradient"])


def test_of_independent_labels_one_is_explained(client: triton.InferenceServerClient) -> None:
    one, as_predicted = [0, 0, 1, 0], [-1, -1, -1, -1]
    assert infer(client, ("grad_cam",), "labels", [one, as_predicted])["grad_cam"].shape == (2, 8, 8)
    with pytest.raises(InferenceServerException, match="An explanation is of one label"):
        infer(client, ("grad_cam",), "labels", [[1, 0, 1, 0], one])


def test_the_parameter_for_all_gradients_does_not_bring_them(client: triton.InferenceServerClient) -> None:
    inputs = [triton.InferInput("input", list(IMAGES.shape), "FP32")]
    inputs[0].set_data_from_numpy(IMAGES)
    answer = client.infer("net", inputs, parameters={"gradients": True}).get_response()
    given = {one["name"] for one in answer["outputs"]}
    assert "weight_gradient_norm" in given
    assert not given.intersection(NAMES)


@pytest.mark.parametrize(("layer", "words"), [("last", "has no map"), (3, "must be the name of a layer")])
def test_a_layer_without_a_map_is_refused(client: triton.InferenceServerClient, layer: Any, words: str) -> None:
    with pytest.raises(InferenceServerException, match=words):
        infer(client, ("grad_cam",), parameters={"layer": layer})
