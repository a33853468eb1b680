"""The real `tritonclient` with a model of independent labels: a row of labels for each image, and their ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.export.importing.answer.references import session
from tests.service.imported_bundles import LABELS, sigmoids, write_independent
from tests.service.live_server import running

IMAGES = np.random.default_rng(5).normal(size=(3, 3, 6, 6)).astype(np.float32)
APPLY = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    bundles = tmp_path_factory.mktemp("labels") / "bundles"
    write_independent(bundles, "several")
    with running(bundles) as server:
        client = triton.InferenceServerClient(urlsplit(server.url).netloc)
        yield client
        client.close()


@pytest.fixture(scope="module")
def own() -> NDArray[np.float64]:
    """The file's own probabilities, [3, 4]."""
    return np.asarray(session(sigmoids()).run(["out"], {"image": IMAGES})[0], dtype=np.float64)


def inputs(labels: NDArray[np.int64] | None, binary: bool = True) -> list[triton.InferInput]:
    arrays: dict[str, tuple[str, NDArray[Any]]] = {"input": ("FP32", IMAGES)}
    if labels is not None:
        arrays["label"] = ("INT64", labels)
    given = []
    for name, (datatype, array) in arrays.items():
        given.append(triton.InferInput(name, list(array.shape), datatype))
        given[-1].set_data_from_numpy(array, binary_data=binary)
    return given


def norms(client: triton.InferenceServerClient, labels: NDArray[np.int64] | None, binary: bool = True) -> Any:
    wanted = [triton.InferRequestedOutput("weight_gradient_norm", binary_data=binary)]
    return client.infer("several", inputs(labels, binary), outputs=wanted).as_numpy("weight_gradient_norm")


def test_probabilities_are_each_label_s_own(client: triton.InferenceServerClient, own: NDArray[np.float64]) -> None:
    found = client.infer("several", inputs(None), outputs=[triton.InferRequestedOutput("probabilities")])
    np.testing.assert_allclose(found.as_numpy("probabilities"), own, rtol=1e-5)


def test_the_config_asks_for_a_number_for_each_label(client: triton.InferenceServerClient) -> None:
    (label,) = (entry for entry in client.get_model_config("several")["input"] if entry["name"] == "label")
    assert (label["data_type"], label["dims"]) == ("TYPE_INT64", [len(LABELS)])


@pytest.mark.parametrize("binary", [True, False])
def test_a_row_of_labels_is_taken_for_each_image(
    client: triton.InferenceServerClient, own: NDArray[np.float64], binary: bool
) -> None:
    """Gradients of the head's bias are σ(z) − y, so norms follow the labels exactly."""
    wanted = [triton.InferRequestedOutput("bias_gradient_norm", binary_data=binary)]
    answer = client.infer("several", inputs(APPLY, binary), outputs=wanted)
    np.testing.assert_allclose(
        answer.as_numpy("bias_gradient_norm")[:, -1], np.linalg.norm(own - APPLY, axis=1), rtol=1e-5
    )


def test_labels_left_out_are_those_above_one_half(
    client: triton.InferenceServerClient, own: NDArray[np.float64]
) -> None:
    expected = norms(client, (own > 0.5).astype(np.int64))
    assert not np.allclose(expected, norms(client, APPLY))
    np.testing.assert_array_equal(norms(client, None), expected)
    np.testing.assert_array_equal(norms(client, np.full((3, 4), -1)), expected)


def test_the_classification_extension_ranks_labels(
    client: triton.InferenceServerClient, own: NDArray[np.float64]
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2)]
    ranked = client.infer("several", inputs(None), outputs=wanted).as_numpy("probabilities")
    for row, probabilities in zip(ranked, own, strict=True):
        best = np.argsort(-probabilities)[:2]
        parts = [entry.decode().split(":", 2) for entry in row]
        assert [(int(index), label) for _, index, label in parts] == [(index, LABELS[index]) for index in best]
        assert [float(value) for value, *_ in parts] == pytest.approx(probabilities[best], rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 1, 2]), r"must be of shape \[-1, 4\], not \[3\]"),
        (APPLY[:2], "one row for each of the 3 images"),
        (np.full((3, 5), 1), r"must be of shape \[-1, 4\], not \[3, 5\]"),
        (np.full((3, 4), 7), r"1 \(applies\), 0 \(does not\)"),
    ],
)
def test_other_labels_are_refused(client: triton.InferenceServerClient, labels: NDArray[np.int64], words: str) -> None:
    with pytest.raises(InferenceServerException, match=words):
        norms(client, labels)
