"""Files as exporters leave them: in training mode, with outputs nobody reads, with nodes that do nothing, unsorted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from export.gradient import differentiate, prepare
from export.graph.errors import GradientError
from export.importing import ImportedModel, import_classifier
from export.running.runs import in_onnxruntime
from tests.export.importing.graphs import answer, body, classifier, images, node, options, saved

five = np.random.default_rng(3)
STATISTICS: dict[str, NDArray[Any]] = {
    "gain": five.uniform(0.5, 2, 5).astype(np.float32),
    "shift": five.normal(size=5).astype(np.float32),
    "mean": five.normal(size=5).astype(np.float32),
    "variance": five.uniform(0.5, 2, 5).astype(np.float32),
}
NORM = ["y", *STATISTICS]


def imported(model: ModelProto, folder: Path, **changes: Any) -> ImportedModel:
    return import_classifier(saved(model, folder), options(**changes))


def refusal(model: ModelProto, folder: Path, **changes: Any) -> str:
    with pytest.raises(GradientError) as caught:
        imported(model, folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def both_ways(found: ImportedModel) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits and input gradient of three images, by the graph that a bundle would hold."""
    given: dict[str, NDArray[Any]] = {
        "input": images(3),
        "label": np.arange(3),
        "cotangent_scale": np.ones(3, np.float32),
    }
    prepared = prepare(found.model, constants=found.constants)
    outputs = in_onnxruntime(differentiate(prepared, "input_gradient"))(given)
    norms = in_onnxruntime(differentiate(prepared, "weight_norms"))(given)
    assert np.isfinite(norms["weight_square"]).all()
    return outputs["logits"], outputs["input_gradient"]


def same_as(found: ImportedModel, plain: ModelProto, folder: Path) -> None:
    for mine, other in zip(both_ways(found), both_ways(imported(plain, folder)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


# ── training mode ─────────────────────────────────────────────────────────────────────────────────


def normalized(outputs: list[str], opset: int, batch: int | str, **attributes: Any) -> ModelProto:
    nodes = [body()[0], node("BatchNormalization", NORM, outputs, "norm", **attributes), *body()[1:]]
    nodes[2].input[0] = "n"
    return classifier(nodes, constants=STATISTICS, opset=opset, image=(batch, 3, 6, 6))


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize(
    ("opset", "outputs", "attributes"),
    [
        (20, ["n", "running_mean", "running_variance"], {"training_mode": 1}),
        (17, ["n"], {"training_mode": 1, "momentum": 0.9}),
        (9, ["n", "m", "v", "saved_mean", "saved_variance"], {}),
        (13, ["n", "m", "v", "saved_mean", "saved_variance"], {}),
        (7, ["n", "m", "v", "saved_mean", "saved_variance"], {"spatial": 1}),
    ],
    ids=["20", "17, one output", "9", "13", "7"],
)
def test_batch_normalization_in_training_mode_takes_its_running_statistics(
    tmp_path: Path, opset: int, outputs: list[str], attributes: dict[str, Any], batch: int | str
) -> None:
    found = imported(normalized(outputs, opset, batch, **attributes), tmp_path)
    same_as(found, normalized(["n"], 20, "N"), tmp_path)
    assert (
        "the file was exported in training mode (1 BatchNormalization); it is taken in inference mode, with running "
        "statistics"
    ) in found.notes


def test_inference_mode_has_no_note(tmp_path: Path) -> None:
    found = imported(normalized(["n"], 20, "N", training_mode=0), tmp_path)
    assert not any("training mode" in note for note in found.notes)


def test_statistics_of_the_batch_that_are_read_are_refused(tmp_path: Path) -> None:
    model = normalized(["n", "running", "variance_out"], 20, "N", training_mode=1)
    model.graph.node.append(node("Add", ["scores", "running"], ["out"]))
    model.graph.output[0].name = "out"
    words = refusal(model, tmp_path)
    assert words.startswith("BatchNormalization (node 'norm'): training mode: its statistics 'running' are read")
    assert "model.eval()" in words


def test_dropout_told_to_train_drops_nothing(tmp_path: Path) -> None:
    nodes = body()
    nodes.insert(2, node("Dropout", ["r", "half", "yes"], ["d", "mask"]))
    nodes[3].input[0] = "d"
    constants = {"half": np.array(0.5, np.float32), "yes": np.array(True)}
    found = imported(classifier(nodes, constants=constants), tmp_path)
    same_as(found, classifier(), tmp_path)
    assert any("1 Dropout" in note for note in found.notes)


def test_training_information_beside_the_graph_is_left_aside(tmp_path: Path) -> None:
    model = classifier()
    model.training_info.add().algorithm.CopyFrom(classifier().graph)
    same_as(imported(model, tmp_path), classifier(), tmp_path)


# ── outputs that nobody reads ─────────────────────────────────────────────────────────────────────

POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
ROWS = np.ones(6, np.float32)


def with_unused(operator: str, operands: list[str], spare: list[str], attributes: dict[str, Any]) -> ModelProto:
    nodes = [*body()[:2], node(operator, ["r", *operands], ["t", *spare], "odd", **attributes), *body()[2:]]
    nodes[3].input[0] = "t"
    constants = {"rows": ROWS, "one": np.array([1]), "halves": np.array([2, 3]), "five": np.array([5])}
    return classifier(nodes, constants=constants)


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize(
    ("operator", "operands", "spare", "attributes"),
    [
        ("MaxPool", [], 1, POOL),
        ("MaxPool", [], 1, {**POOL, "storage_order": 1}),
        ("Dropout", [], 1, {}),
        ("LayerNormalization", ["rows"], 2, {}),
        ("Split", ["halves"], 1, {"axis": 1}),
        ("Split", [], 4, {"axis": 1, "num_outputs": 5}),
    ],
    ids=["MaxPool", "MaxPool by columns", "Dropout", "LayerNormalization", "Split", "Split in five"],
)
def test_outputs_that_nobody_reads_are_dropped(
    tmp_path: Path, operator: str, operands: list[str], spare: int, attributes: dict[str, Any], named: bool, batch: Any
) -> None:
    spares = [f"spare_{number}" if named else "" for number in range(spare)]
    model = with_unused(operator, operands, spares, attributes)
    if operator == "Split":
        kept = 2 if operands else 1
        model.graph.initializer.append(helper.make_tensor("few.weight", TensorProto.FLOAT, [4, kept], [0.5] * 4 * kept))
        model.graph.node[-1].input[1] = "few.weight"
    reference = answer(with_names(model), images(3))
    model.graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch]).type.tensor_type.shape.dim[0]
    )
    logits, gradient = both_ways(imported(model, tmp_path))
    np.testing.assert_allclose(logits, reference, rtol=1e-4, atol=1e-5)
    assert np.abs(gradient).max() > 0


def with_names(model: ModelProto) -> ModelProto:
    """onnx's evaluator wants every output called by a name."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for entry in copy.graph.node:
        for index, name in enumerate(entry.output):
            entry.output[index] = name or f"{entry.name}_{index}"
    return copy


@pytest.mark.parametrize("unnamed", [False, True])
def test_the_positions_of_the_largest_may_go_unread(tmp_path: Path, unnamed: bool) -> None:
    """No output of TopK is optional."""
    largest = node("TopK", ["flat", "five"], ["", "order"] if unnamed else ["values", "order"])
    picked = node("Gather", ["flat", "order_of_zero"], ["p"], axis=1)
    nodes = [*body()[:4], largest, picked, body()[4]]
    nodes[-1].input[0] = "p"
    constants = {"five": np.array([5]), "order_of_zero": np.arange(5)}
    same_as(imported(classifier(nodes, constants=constants), tmp_path), classifier(), tmp_path)


def test_a_second_output_that_is_read_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [*body()[:2], node("MaxPool", ["r"], ["t", "where"], "odd", **POOL), *body()[2:]]
    nodes[3].input[0] = "t"
    nodes.insert(3, node("Cast", ["where"], ["place"], to=TensorProto.FLOAT))
    nodes.insert(4, node("Add", ["t", "place"], ["t2"]))
    nodes[5].input[0] = "t2"
    with pytest.raises(GradientError, match=r"MaxPool \(node 'odd'\): its output 'where' is read"):
        prepare(imported(classifier(nodes), tmp_path).model)


# ── nodes that do nothing ─────────────────────────────────────────────────────────────────────────


def idling(tensor: str, operators: list[str], *, softmax: bool = False, before: bool = False) -> ModelProto:
    """The tiny classifier with idle nodes behind the tensor, which `before` softmax or after it ends the graph."""
    nodes = body()
    attributes: dict[str, dict[str, Any]] = {"Cast": {"to": TensorProto.FLOAT}}
    chain = [node(op, [f"i{k}"], [f"i{k + 1}"], **attributes.get(op, {})) for k, op in enumerate(operators)]
    last = f"i{len(operators)}"
    outputs = ["scores"]
    if tensor == "scores":
        tail = [node("Softmax", ["i0" if not before else last], ["p"], axis=-1)] if softmax else []
        if softmax and not before:
            tail[0].input[0], chain[0].input[0] = "scores", "p"
            nodes += [*tail, *chain]
            outputs = [last]
        else:
            chain[0].input[0] = "scores"
            nodes += [*chain, *tail]
            outputs = ["p"] if softmax else [last]
        return classifier(nodes, outputs=outputs)
    chain[0].input[0] = tensor
    for entry in nodes:
        for index, name in enumerate(entry.input):
            entry.input[index] = last if name == tensor else name
    at = next(k for k, entry in enumerate(nodes) if last in entry.input)
    return classifier([*nodes[:at], *chain, *nodes[at:]])


@pytest.mark.parametrize(
    "operators", [["Identity"], ["Identity"] * 3, ["Dropout"], ["Cast"], ["Cast", "Identity"]], ids=str
)
@pytest.mark.parametrize(
    ("tensor", "softmax", "before"),
    [
        ("scores", False, False),
        ("scores", True, True),
        ("scores", True, False),
        ("image", False, False),
        ("y", False, False),
        ("head.weight", False, False),
        ("conv.bias", False, False),
    ],
    ids=["at the end", "before softmax", "after softmax", "image", "inside", "weight", "bias"],
)
def test_nodes_that_pass_their_input_on_change_nothing(
    tmp_path: Path, tensor: str, softmax: bool, before: bool, operators: list[str]
) -> None:
    same_as(imported(idling(tensor, operators, softmax=softmax, before=before), tmp_path), classifier(), tmp_path)


def test_a_branch_may_read_what_an_identity_names(tmp_path: Path) -> None:
    branches = {
        f"{side}_branch": helper.make_graph(
            [node("Mul", ["y", "same_gain"], [f"{side}_out"])],
            side,
            [],
            [helper.make_tensor_value_info(f"{side}_out", TensorProto.FLOAT, None)],
        )
        for side in ("then", "else")
    }
    nodes = [node("Identity", ["gain"], ["same_gain"]), body()[0], node("If", ["yes"], ["r"], "choice", **branches)]
    constants = {"gain": np.full((5, 1, 1), 2, np.float32), "yes": np.array(True)}
    plain = classifier([body()[0], node("Mul", ["y", "gain"], ["r"]), *body()[2:]], constants=constants)
    same_as(imported(classifier([*nodes, *body()[2:]], constants=constants), tmp_path), plain, tmp_path)


# ── what the standard forbids, and files do ───────────────────────────────────────────────────────


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    same_as(imported(classifier(body()[::-1]), tmp_path), classifier(), tmp_path)


@pytest.mark.parametrize(
    ("nodes", "outputs", "words"),
    [
        (body()[:1] + body()[2:], ["scores"], "node 'pool' reads 'r', which nothing produces"),
        ([*body(), node("Relu", ["y"], ["flat"])], ["scores"], "tensor 'flat' is made more than once"),
        ([*body(), node("Relu", ["y"], ["head.bias"])], ["scores"], "tensor 'head.bias' is made more than once"),
        ([node("Relu", ["r"], ["y"]), *body()[1:]], ["scores"], "reads what is made from its own output"),
        (body(), ["image"], "the output 'image' is the model's input itself"),
        (body(), ["head.bias"], "the output 'head.bias' is a stored tensor"),
        (body(), ["nothing"], "the output 'nothing' is made by no node"),
        (body(), [], "no outputs"),
    ],
)
def test_a_graph_that_does_not_hang_together_is_told_where(
    tmp_path: Path, nodes: list[Any], outputs: list[str], words: str
) -> None:
    assert words in refusal(classifier(nodes, outputs=outputs), tmp_path)


@pytest.mark.parametrize("kind", ["sequence", "optional"])
def test_an_output_that_is_no_tensor_is_refused(tmp_path: Path, kind: str) -> None:
    operator = {"sequence": "SequenceConstruct", "optional": "Optional"}[kind]
    model = classifier([*body(), node(operator, ["scores"], ["packed"])], outputs=["packed"])
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    made = helper.make_sequence_type_proto(tensor) if kind == "sequence" else helper.make_optional_type_proto(tensor)
    model.graph.output[0].type.CopyFrom(made)
    assert f"the output 'packed' is a {kind}, not a tensor of scores" in refusal(model, tmp_path)
    same_as(imported(model, tmp_path, output="scores"), classifier(), tmp_path)


def test_functions_within_functions_are_written_out(tmp_path: Path) -> None:
    model = classifier([*body()[:1], node("Outer", ["y"], ["r"], domain="mine"), *body()[2:]], domains=["mine"])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    model.functions.extend(
        [
            helper.make_function("mine", "Outer", ["a"], ["b"], [node("Inner", ["a"], ["b"], domain="mine")], imports),
            helper.make_function("mine", "Inner", ["a"], ["b"], [node("Relu", ["a"], ["b"])], imports),
        ]
    )
    same_as(imported(model, tmp_path), classifier(), tmp_path)


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    model = classifier([*body()[:1], node("Turn", ["y"], ["r"], domain="mine"), *body()[2:]], domains=["mine"])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    model.functions.append(
        helper.make_function("mine", "Turn", ["a"], ["b"], [node("Turn", ["a"], ["b"], domain="mine")], imports)
    )
    assert refusal(model, tmp_path)
