"""Which constants of a file were trained, and which its exporter or its author wrote there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from export.gradient import Prepared, prepare
from export.importing import import_classifier
from tests.export.importing.graphs import body, classifier, node, options, saved, weights

BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16


def prepared(model: ModelProto, folder: Path) -> Prepared:
    found = import_classifier(saved(model, folder), options())
    return prepare(found.model, constants=found.constants)


def by_torch(nodes: list[NodeProto], **constants: NDArray[Any]) -> ModelProto:
    model = classifier(nodes, constants={**weights(), **constants})
    model.producer_name = "pytorch"
    return model


def written_out(name: str, value: NDArray[Any]) -> NodeProto:
    """A Constant node."""
    return node("Constant", [], [name], f"made {name}", value=numpy_helper.from_array(value.astype(np.float32)))


def behind_the_rectifier(*nodes: NodeProto) -> list[NodeProto]:
    """`body` with the nodes between "r" and the pool, which then reads "blurred"."""
    first, second, pool, *rest = body()
    pool.input[0] = "blurred"
    return [first, second, *nodes, pool, *rest]


def blur(weight: str = "filter") -> NodeProto:
    return node("Conv", ["r", weight], ["blurred"], "blur", group=5)


def names(ready: Prepared) -> tuple[list[str], list[str]]:
    return [layer.name for layer in ready.layers], [other.name for other in ready.other_parameters]


def test_one_filter_for_all_channels_is_no_layer(tmp_path: Path) -> None:
    found = prepared(by_torch(behind_the_rectifier(blur()), filter=np.tile(BINOMIAL, (5, 1, 1, 1))), tmp_path)
    assert names(found) == (["conv", "head"], [])


def test_one_interpolation_for_all_channels_is_no_layer(tmp_path: Path) -> None:
    up = node("ConvTranspose", ["r", "filter"], ["blurred"], "up", group=5, strides=[2, 2])
    found = prepared(by_torch(behind_the_rectifier(up), filter=np.tile(BINOMIAL, (5, 1, 1, 1))), tmp_path)
    assert names(found) == (["conv", "head"], [])


def test_filters_that_differ_are_a_layer(tmp_path: Path) -> None:
    filters = np.tile(BINOMIAL, (5, 1, 1, 1))
    filters[3] *= 1.5
    found = prepared(by_torch(behind_the_rectifier(blur("mix.weight")), **{"mix.weight": filters}), tmp_path)
    assert names(found) == (["conv", "mix", "head"], [])


def test_filters_of_one_number_are_a_layer(tmp_path: Path) -> None:
    """So the light models of the ONNX project hold all their weights."""
    filters = np.full((5, 1, 3, 3), 0.02, np.float32)
    found = prepared(by_torch(behind_the_rectifier(blur("mix.weight")), **{"mix.weight": filters}), tmp_path)
    assert names(found) == (["conv", "mix", "head"], [])


def test_what_torch_writes_as_a_constant_node_is_not_trained(tmp_path: Path) -> None:
    filters, shift = np.random.default_rng(1).normal(size=(5, 1, 3, 3)), np.arange(5).reshape(5, 1, 1)
    nodes = behind_the_rectifier(
        written_out("sobel", filters),
        written_out("position", shift),
        node("Conv", ["r", "sobel"], ["edges"], "edges", group=5),
        node("Add", ["edges", "position"], ["blurred"], "placed"),
    )
    assert names(prepared(by_torch(nodes), tmp_path)) == (["conv", "head"], [])


@pytest.mark.parametrize("producer", ["pytorch", "another"])
def test_constant_nodes_are_trained_where_all_weights_are_such(tmp_path: Path, producer: str) -> None:
    nodes = [written_out(name, value) for name, value in weights().items()] + body()
    model = classifier(nodes)
    del model.graph.initializer[:]
    model.producer_name = producer
    found = prepared(model, tmp_path)
    assert names(found) == (["conv", "head"], [])
    assert all(layer.bias for layer in found.layers)


def test_constant_nodes_of_other_producers_are_trained(tmp_path: Path) -> None:
    filters = np.random.default_rng(1).normal(size=(5, 1, 3, 3))
    model = by_torch(behind_the_rectifier(written_out("mix.weight", filters), blur("mix.weight")))
    model.producer_name = "another"
    assert names(prepared(model, tmp_path)) == (["conv", "mix", "head"], [])


@pytest.mark.parametrize(
    ("scale", "shift"), [("val_8", "val_11"), ("/n/Constant_1_output_0", "/n/Constant_2_output_0")]
)
@pytest.mark.parametrize("operator", ["InstanceNormalization", "LayerNormalization"])
def test_ones_and_zeros_without_a_name_are_no_parameters(tmp_path: Path, operator: str, scale: str, shift: str) -> None:
    size = 5 if operator == "InstanceNormalization" else 6
    nodes = behind_the_rectifier(node(operator, ["r", scale, shift], ["blurred"], "norm"))
    constants = {scale: np.ones(size, np.float32), shift: np.zeros(size, np.float32)}
    assert names(prepared(by_torch(nodes, **constants), tmp_path)) == (["conv", "head"], [])


def test_ones_and_zeros_with_a_name_are_parameters(tmp_path: Path) -> None:
    nodes = behind_the_rectifier(node("InstanceNormalization", ["r", "norm.weight", "norm.bias"], ["blurred"], "norm"))
    constants = {"norm.weight": np.ones(5, np.float32), "norm.bias": np.zeros(5, np.float32)}
    assert names(prepared(by_torch(nodes, **constants), tmp_path)) == (["conv", "head"], ["norm.weight", "norm.bias"])


def test_numbered_parameters_of_a_normalization_that_were_trained_are_parameters(tmp_path: Path) -> None:
    nodes = behind_the_rectifier(node("InstanceNormalization", ["r", "val_1", "val_2"], ["blurred"], "norm"))
    constants: dict[str, NDArray[Any]] = {
        "val_1": np.linspace(0.9, 1.1, 5, dtype=np.float32),
        "val_2": np.ones(5, np.float32) / 8,
    }
    assert names(prepared(by_torch(nodes, **constants), tmp_path)) == (["conv", "head"], ["val_1", "val_2"])
