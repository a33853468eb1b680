"""A file may call anything as our graphs call theirs: nothing clashes, and the file's own names are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from export.gradient import Prepared, differentiate, prepare
from export.gradient.emissions.table import EMISSIONS
from export.graph.edits import rename_tensors
from export.graph.names import CONTRACT, OWN, distinct_names, of_contract, original
from export.importing import import_classifier
from export.running.runs import in_onnxruntime
from service.contract.bundle_schema import GraphName
from tests.export.importing.graphs import answer, body, classifier, images, node, options, saved

GRAPHS: tuple[GraphName, ...] = ("batch_norms", "input_gradient", "activations", "feature_maps")  # these give it all
CLASHING = ("map/conv", "constant/0", "loss/gradient/Softmax", "conv/gradient/Conv", "conv.weight.folded_bias")


def all_outputs(prepared: Prepared, count: int = 2) -> dict[str, NDArray[Any]]:
    """Every output of a bundle's graphs, by ONNX Runtime."""
    given: dict[str, NDArray[Any]] = {
        "input": images(count),
        "label": np.arange(count, dtype=np.int64),
        "cotangent_scale": np.ones(count, np.float32),
    }
    found = {}
    for name in GRAPHS:
        model = differentiate(prepared, name)
        feeds = {value.name: given[value.name] for value in model.graph.input}
        found.update({f"{name}: {key}": value for key, value in in_onnxruntime(model)(feeds).items()})
    return found


def renamed(old: str, new: str) -> ModelProto:
    """The tiny classifier with a PRelu, one of whose tensors has another name."""
    nodes = body()
    nodes[1] = node("PRelu", ["y", "slope"], ["r"], "bend")
    model = classifier(nodes, constants={"slope": np.full((5, 1, 1), 0.3, np.float32)})
    rename_tensors(model.graph, {old: new})
    return model


def test_the_contract_is_what_the_graphs_take_and_give() -> None:
    assert {"input", "label", "cotangent_scale", "layer", *EMISSIONS} - {"map"} == CONTRACT
    assert of_contract("map/layer1.0.conv1")


@pytest.mark.parametrize("name", [*sorted(CONTRACT), *CLASHING])
@pytest.mark.parametrize("tensor", ["image", "y", "conv.weight", "slope"])
def test_a_tensor_of_any_kind_may_have_any_name(tensor: str, name: str) -> None:
    plain, clashing = prepare(renamed("", "")), prepare(renamed(tensor, name))
    expected, found = all_outputs(plain), all_outputs(clashing)
    shown = name.removesuffix(".weight") if tensor == "conv.weight" else "conv"
    assert [layer.name for layer in clashing.layers] == [shown, "head"]
    assert [other.name for other in clashing.other_parameters] == [name if tensor == "slope" else "slope"]
    assert found.keys() == {
        f"feature_maps: map/{shown}" if key == "feature_maps: map/conv" else key for key in expected
    }
    for (key, value), again in zip(expected.items(), found.values(), strict=True):
        np.testing.assert_array_equal(again, value, err_msg=key)


def test_a_name_that_holds_the_engine_s_mark_is_found_again() -> None:
    model = distinct_names(renamed("flat", f"flat{OWN}shape"))
    flattened = model.graph.node[3].output[0]
    assert OWN not in flattened
    assert original(flattened) == f"flat{OWN}shape"


@pytest.mark.parametrize("name", ["input", "logits", "label", "features", "input_gradient"])
@pytest.mark.parametrize("tensor", ["image", "y", "flat", "scores", "conv.weight", "head.bias"])
def test_a_file_with_such_a_name_is_imported_with_it(tmp_path: Path, tensor: str, name: str) -> None:
    model = renamed(tensor, name)
    found = import_classifier(saved(model, tmp_path), options())
    assert np.allclose(answer(found.model, images()), answer(renamed("", ""), images()), atol=1e-6)
    layers = [layer.name for layer in prepare(found.model, constants=found.constants).layers]
    assert layers == [name if tensor == "conv.weight" else "conv", "head"]


def test_nodes_may_share_one_name() -> None:
    nodes = body()
    for entry in nodes:
        entry.name = "label"
    plain, clashing = prepare(classifier()), prepare(classifier(nodes))
    for found, expected in zip(all_outputs(clashing).values(), all_outputs(plain).values(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_two_layers_whose_short_names_coincide_keep_their_whole_names() -> None:
    model = classifier()
    rename_tensors(model.graph, {"head.weight": "conv"})
    assert [layer.name for layer in prepare(model).layers] == ["conv.weight", "conv"]


def test_a_constant_declared_untrained_stays_so_under_a_name_of_the_contract() -> None:
    assert prepare(renamed("slope", "label"), constants=("label",)).other_parameters == ()


def branched(inner: str) -> ModelProto:
    """Two conditions on constants one after the other, whose four branches all call their tensors alike."""

    def chosen(condition: str, reads: str, gives: str) -> Any:
        branches = {
            f"{side}_branch": helper.make_graph(
                [node(operator, [reads], [inner]), node("Mul", [inner, "gain"], [f"{inner}_2"])],
                side,
                [],
                [helper.make_tensor_value_info(f"{inner}_2", TensorProto.FLOAT, None)],
                [helper.make_tensor("gain", TensorProto.FLOAT, [1], [2.0])],
            )
            for side, operator in (("then", "Relu"), ("else", "Neg"))
        }
        return node("If", [condition], [gives], gives, **branches)

    nodes = [body()[0], chosen("yes", "y", "first"), chosen("no", "first", "r"), *body()[2:]]
    return classifier(nodes, constants={"yes": np.array(True), "no": np.array(False)})


@pytest.mark.parametrize("inner", ["t", "label", "logits", "y_2"])
@pytest.mark.parametrize("batch", ["N", 1])
def test_branches_may_use_one_name_for_tensors_of_each(tmp_path: Path, inner: str, batch: int | str) -> None:
    model = branched(inner)
    model.graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch]).type.tensor_type.shape.dim[0]
    )
    plain = classifier([*body()[:2], node("Mul", ["r", "less"], ["s"]), node("GlobalAveragePool", ["s"], ["pooled"]),
                        *body()[3:]], constants={"less": np.array(-4, np.float32)})  # fmt: skip
    found = prepare(import_classifier(saved(model, tmp_path), options()).model).forward
    assert np.allclose(answer(found, images(3)), answer(plain, images(3)), atol=1e-5)


def test_a_class_token_that_is_joined_twice_is_repeated_twice(tmp_path: Path) -> None:
    """A fixed batch repeats the token for every sample, at each of its uses."""
    nodes = [
        *body()[:3],
        node("Flatten", ["pooled"], ["five"]),
        node("Concat", ["token", "five"], ["ten"], axis=1),
        node("Concat", ["ten", "token"], ["fifteen"], axis=1),
        node("Gemm", ["fifteen", "wide"], ["scores"], "wide"),
    ]
    constants = {"token": np.ones((1, 5), np.float32), "wide": np.ones((15, 4), np.float32)}
    model = classifier(nodes, constants=constants, image=(1, 3, 6, 6))
    found = import_classifier(saved(model, tmp_path), options()).model
    expected = np.concatenate([answer(model, image[None]) for image in images(3)])
    assert np.allclose(answer(found, images(3)), expected, atol=1e-5)
