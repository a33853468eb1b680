"""An int8 model over HTTP: every answer says which of its two networks it is of, and how far the other one is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export.importing.command import import_bundle
from service.images.preprocess import normalise
from tests.export.importing.graphs import options, saved
from tests.export.importing.types.coarse_file import (
    SPEC,
    by_the_file,
    coarse,
    pictures_that_differ,
    pixels,
    without_integers,
    without_rounding,
)
from tests.picture_files import png
from tests.service.live_server import LiveServer, running

DIAGNOSES = {
    "/diagnostics/gradients": ["/quantized"],
    "/diagnostics/scores": ["/quantized"],
    "/diagnostics/features": ["/quantized"],
    "/diagnostics/shattering": ["/quantized"],
    "/diagnostics/compare": ["/models/0/quantized"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("quantized")
    import_bundle(saved(coarse(), folder), "int8", options(), folder / "bundles")
    import_bundle(saved(without_integers(), folder), "float", options(), folder / "bundles")
    with running(folder / "bundles", default_model="int8") as server:
        yield server


def test_predictions_are_the_file_s_own_and_say_so(server: LiveServer) -> None:
    own = by_the_file()
    with server.client() as client:
        for row, picture in enumerate(pixels()[:5]):
            answer = client.post("/predict", content=png(picture)).json()
            labels = {entry["index"]: entry["probability"] for entry in answer["predictions"][0]["labels"]}
            assert [labels[index] for index in range(4)] == pytest.approx(own[row], abs=1e-5)
            assert answer["quantized"].startswith("computed by the file's own int8 graph")
        assert "quantized" not in client.post("/predict?model=float", content=png(pixels()[0])).json()


def test_a_diagnosis_is_of_the_float_network_and_says_so(server: LiveServer) -> None:
    (picture, *_), (other, *_) = pictures_that_differ(False), pictures_that_differ(True)
    with server.client() as client:
        for address, places in DIAGNOSES.items():
            query = "?model=int8&model=float" if address.endswith("compare") else ""
            for image in (picture, other):
                answer = client.post(address + query, content=png(image)).json()
                for place in places:
                    said = answer["models"][0]["quantized"] if "models" in place else answer["quantized"]
                    assert said.startswith("computed by the float network that the int8 file stands for")
                    assert "whose probabilities differ by up to" in said
        answer = client.post("/diagnostics/gradients?model=float", content=png(picture)).json()
        assert answer["quantized"] is None


def test_images_on_which_the_two_networks_disagree_are_named(server: LiveServer) -> None:
    same, other = pictures_that_differ(False)[0], pictures_that_differ(True)[0]
    with server.client() as client:
        images = [("images", ("image.png", png(picture))) for picture in (same, other)]
        predicted = [
            entry["labels"][0]["label"] for entry in client.post("/predict", files=images).json()["predictions"]
        ]
        for address in ("/diagnostics/gradients", "/diagnostics/scores", "/diagnostics/features"):
            answer = client.post(address, files=images).json()
            diagnosed = [sample["predicted_label"] for sample in answer["samples"]]
            assert predicted[0] == diagnosed[0]
            assert predicted[1] != diagnosed[1]
            words = f"image 2: {predicted[1]!r} by /predict, {diagnosed[1]!r} by the float network"
            assert f"The two disagree here on 1 of 2: {words}" in answer["quantized"]


def test_a_plot_says_so_too(server: LiveServer) -> None:
    with server.client() as client:
        for address in DIAGNOSES:
            query = "?model=int8&model=float&format=svg" if address.endswith("compare") else "?format=svg"
            answer = client.post(address + query, content=png(pixels()[0]))
            assert answer.headers["content-type"] == "image/svg+xml"
            assert "omputed by the float network that the int8 file stands for" in answer.text


def test_the_model_s_description_has_the_measured_difference(server: LiveServer) -> None:
    with server.client() as client:
        found = client.get("/models/int8").json()["quantized"]
        assert set(found) == {"rounded", "probability_difference", "other_class", "images"}
        assert 0 < found["probability_difference"] < 1
        assert found["images"] >= 10
        assert client.get("/models/float").json()["quantized"] is None


def test_the_open_protocol_says_so_in_the_answer_s_parameters(server: LiveServer) -> None:
    image = normalise(pixels()[:2], SPEC)
    given = {"name": "input", "datatype": "FP32", "shape": list(image.shape), "data": image.ravel().tolist()}
    with server.client() as client:
        plain = client.post("/v2/models/int8/infer", json={"inputs": [given]}).json()
        assert plain["parameters"]["quantized"].startswith("computed by the file's own int8 graph")
        wanted = {"inputs": [given], "outputs": [{"name": "weight_gradient_norm"}]}
        deep = client.post("/v2/models/int8/infer", json=wanted).json()
        assert deep["parameters"]["quantized"].startswith("computed by the float network")
        assert "parameters" not in client.post("/v2/models/float/infer", json={"inputs": [given]}).json()


def test_the_measured_difference_is_the_largest_on_the_test_pictures(tmp_path: Path) -> None:
    bundle = import_bundle(saved(coarse(), tmp_path), "int8", options(), tmp_path)
    assert bundle.quantized is not None
    apart = np.abs(by_the_file() - without_rounding()).max()
    assert 0.1 * apart < bundle.quantized.probability_difference < 10 * apart
