"""Imported networks over HTTP: the file's own probabilities come back, and the loss is computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from export.importing import import_classifier
from export.importing.command import bundle_of, import_bundle, write_what_runs
from export.writing.bundle import read_bundle_and_graphs
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise
from tests.export.importing.answer.endings import FROM_NUMBERS, READ_OFF
from tests.export.importing.answer.references import session, shares, slopes, weights_of
from tests.export.importing.graphs import classifier, options, saved
from tests.picture_files import png
from tests.service.live_server import LiveServer, running

ENDINGS = {
    "by-hand": READ_OFF["by hand"],
    "mixed": FROM_NUMBERS["mixed"],
    "one-sigmoid": READ_OFF["one sigmoid"],
}
SPEC = InputSpec(height=6, width=6, mean=options().mean, std=options().std)
SETTLED = {"size": "6 x 6 (the file itself)"}
PIXELS = np.random.default_rng(4).integers(0, 256, (6, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("imported")
    for name, ending in ENDINGS.items():
        import_bundle(saved(ending.model(), folder), name, options(labels=ending.names), folder / "bundles")
    with_a_graph_left_out(folder)
    with running(folder / "bundles", default_model="by-hand") as server:
        yield server


def with_a_graph_left_out(folder: Path) -> None:
    """Write `partial`, a bundle whose graph for weight norms does not run."""
    imported = import_classifier(saved(classifier(), folder), options())
    bundle = bundle_of(imported, "partial", folder / "bundles", provenance=SETTLED)
    _, graphs = read_bundle_and_graphs(folder / "bundles/partial")
    broken = ModelProto.FromString(graphs["weight_norms"].SerializeToString())
    broken.graph.node[0].op_type = "Smelu"
    write_what_runs(bundle, {**graphs, "weight_norms": broken}, imported.references, folder / "bundles/partial")


@pytest.mark.parametrize("name", ENDINGS)
def test_the_file_s_own_answer_and_its_gradients_come_over_http(server: LiveServer, name: str) -> None:
    ending = ENDINGS[name]
    image = normalise(PIXELS[None], SPEC)
    own = shares(session(ending.model()).run(["out"], {"image": image})[0])[0]
    with server.client() as client:
        answer = client.post(f"/predict?model={name}", content=png(PIXELS)).json()
        labels = {entry["index"]: entry["probability"] for entry in answer["predictions"][0]["labels"]}
        assert [labels[index] for index in range(ending.labels)] == pytest.approx(own, abs=1e-6)
        diagnosis = client.post(f"/diagnostics/gradients?model={name}&label=1", content=png(PIXELS)).json()
    assert diagnosis["samples"][0]["probability"] == pytest.approx(own[1], rel=1e-5)
    assert diagnosis["samples"][0]["loss"] == pytest.approx(-np.log(own[1]), rel=1e-5)
    expected = slopes(ending.model(), image.astype(np.float64), shares, weights_of(ending))["conv.weight"]
    found = next(layer for layer in diagnosis["layers"] if layer["name"] == "conv")
    assert found["weight_gradient_norm"][0] == pytest.approx(expected, rel=1e-3)


def test_a_bundle_without_a_graph_predicts_and_says_what_is_missing(server: LiveServer) -> None:
    with server.client() as client:
        assert client.post("/predict?model=partial", content=png(PIXELS)).status_code == 200
        refused = client.post("/diagnostics/gradients?model=partial", content=png(PIXELS))
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert "no graph weight_norms" in refused.json()["detail"]
        assert client.post("/diagnostics/features?model=partial", content=png(PIXELS)).status_code == 200
        assert client.get("/models/partial").json()["provenance"] == SETTLED
        (note,) = [n for n in client.get("/models/partial").json()["notes"] if "left out" in n]
        assert note.startswith("the graph weight_norms is left out: it does not load")
