"""Norms of a network whose normalization was folded away are said to be the folded network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.graph.edits import rename_tensors
from export.importing import import_classifier
from export.importing.weights.normalization import folded_normalization
from tests.export.importing.graphs import body, classifier, node, options, saved

FIVE: dict[str, Any] = {name: np.full(5, 0.5, np.float32) for name in ("gain", "shift", "mean", "variance")}


def notes(folder: Path, nodes: Any = None, names: dict[str, str] | None = None, **constants: Any) -> list[str]:
    """The notes of an import that speak of normalization."""
    model = classifier(nodes, constants=constants)
    rename_tensors(model.graph, names or {})
    return [note for note in import_classifier(saved(model, folder), options()).notes if "BatchNormalization" in note]


def normalized(operator: str, *operands: str, **attributes: Any) -> list[Any]:
    nodes = [body()[0], node(operator, ["y", *operands], ["n"], "norm", **attributes), *body()[1:]]
    nodes[2].input[0] = "n"
    return nodes


def test_biases_without_a_normalization_may_come_from_folding(tmp_path: Path) -> None:
    (note,) = notes(tmp_path)
    assert note.startswith(
        "no convolution is followed by a BatchNormalization, and 1 has a bias: if the file's exporter"
    )
    assert "norms are then those of the folded network" in note
    assert "scaled_gradient_norm is the same for both" in note


@pytest.mark.parametrize(
    "name", ["onnx::Conv_193", "model/conv1/Conv2D_weights_fused_bn", "stem/Conv2D/ReadVariableOp_bn_fused"]
)
def test_names_that_only_folding_makes_are_sure(tmp_path: Path, name: str) -> None:
    (note,) = notes(tmp_path, names={"conv.weight": name})
    assert note.startswith("the file's exporter folded BatchNormalization into 1 of its convolutions: norms are then")


def test_a_convolution_that_onnx_runtime_fused_with_its_activation_counts_too() -> None:
    model = classifier()
    rename_tensors(model.graph, {"conv.weight": "onnx::Conv_193"})
    convolution = model.graph.node[0]
    convolution.op_type, convolution.domain = "FusedConv", "com.microsoft"
    (note,) = folded_normalization(model)
    assert note.startswith("the file's exporter folded BatchNormalization into 1 of its convolutions")


def test_a_normalization_that_is_there_has_no_note(tmp_path: Path) -> None:
    assert notes(tmp_path, normalized("BatchNormalization", *FIVE), **FIVE) == []
    assert notes(tmp_path, normalized("InstanceNormalization", "gain", "shift"), **FIVE) == []


def test_a_normalization_elsewhere_leaves_it_open(tmp_path: Path) -> None:
    """Networks that normalize before they convolve keep some, folded or not."""
    nodes = [*body()[:2], node("BatchNormalization", ["r", *FIVE], ["n"], "norm"), *body()[2:]]
    nodes[3].input[0] = "n"
    (note,) = notes(tmp_path, nodes, **FIVE)
    assert "if the file's exporter folded one" in note


def test_convolutions_without_biases_have_no_note(tmp_path: Path) -> None:
    nodes = body()
    del nodes[0].input[2:]
    assert notes(tmp_path, nodes) == []
