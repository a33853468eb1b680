"""A model offers the outputs that its own stored graphs have, even if the table of outputs lists more by now."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
import pytest

from service.contract.bundle_schema import Bundle, GraphName
from service.errors import MalformedRequest
from service.http.open_inference.catalogue import Catalogue
from tests.service.live_server import running

SHIPPED = Path(__file__).parents[4] / "models" / "bundles" / "plain20"


def without(described: dict[str, Any], output: str, graphs: Collection[GraphName]) -> None:
    """Take an output off the lists of what these graphs give."""
    for name in graphs:
        graph = described["graphs"][name]
        graph["outputs"] = [other for other in graph["outputs"] if other != output]


def described() -> dict[str, Any]:
    text: dict[str, Any] = json.loads((SHIPPED / "bundle.json").read_text())
    return text


def test_an_output_that_the_stored_graph_lacks_is_not_offered() -> None:
    older = described()
    without(older, "scaled_square", ("weight_norms", "batch_norms"))
    catalogue = Catalogue(Bundle.model_validate(older))
    whole = [tensor.name for tensor in Catalogue(Bundle.model_validate(described())).outputs]
    assert [tensor.name for tensor in catalogue.outputs] == [name for name in whole if name != "scaled_gradient_norm"]
    with pytest.raises(MalformedRequest, match="no output 'scaled_gradient_norm'"):
        catalogue.graphs_for(["scaled_gradient_norm"])


def test_a_cheap_graph_is_spared_only_where_the_dearer_one_gives_all_that_is_wanted_of_it() -> None:
    wanted = ["activation_gradient_norm", "weight_gradient_norm"]
    assert Catalogue(Bundle.model_validate(described())).graphs_for(wanted) == ["weight_norms"]
    older = described()
    without(older, "activation_square", ["weight_norms"])
    assert Catalogue(Bundle.model_validate(older)).graphs_for(wanted) == ["activation_norms", "weight_norms"]


def test_a_bundle_without_one_output_answers_for_all_others(tmp_path: Path) -> None:
    folder = tmp_path / "plain20"
    shutil.copytree(SHIPPED, folder)
    older = described()
    without(older, "activation_variance", ["activations"])
    file = folder / older["graphs"]["activations"]["file"]
    graph = onnx.load(str(file), load_external_data=False)
    kept = [output for output in graph.graph.output if output.name != "activation_variance"]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    file.write_bytes(graph.SerializeToString())
    older["sha256"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(older))
    image = {"name": "input", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.5] * 3072}
    with running(tmp_path) as server, server.client() as http:
        answer = http.post("/v2/models/plain20/infer", json={"inputs": [image], "parameters": {"gradients": True}})
        refused = http.post(
            "/v2/models/plain20/infer", json={"inputs": [image], "outputs": [{"name": "activation_variance"}]}
        )
    assert answer.status_code == 200, answer.text
    names = {output["name"] for output in answer.json()["outputs"]}
    assert "activation_mean" in names
    assert "activation_variance" not in names
    assert refused.status_code == 400
