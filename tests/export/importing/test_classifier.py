"""Graphs of many forms become one: `input` [N, …] → `logits` [N, K], at one opset, with the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from export.gradient import prepare
from export.graph.errors import GradientError, UnsupportedGraph, UnsupportedOperator
from export.graph.graph import OPSET
from export.importing import ImportedModel, OptionMismatch, import_classifier
from tests.export.importing.graphs import CLASSES, SIZE, answer, body, classifier, images, node, options, saved, weights


def imported(model: ModelProto, folder: Path, **changes: Any) -> ImportedModel:
    return import_classifier(saved(model, folder), options(**changes))


def refusal(kind: type[GradientError], model: ModelProto, folder: Path, **changes: Any) -> str:
    with pytest.raises(kind) as caught:
        imported(model, folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_input_and_output_take_the_names_of_the_bundle(tmp_path: Path) -> None:
    graph = imported(classifier(), tmp_path).model.graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["logits"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_names_of_the_bundle_that_mean_something_else_in_the_file_give_way(tmp_path: Path) -> None:
    nodes = body()
    nodes[1].output[0] = nodes[2].input[0] = "logits"
    nodes[0].output[0] = nodes[1].input[0] = "input"
    model = classifier(nodes)
    assert np.allclose(answer(imported(model, tmp_path).model, images()), answer(model, images()))


@pytest.mark.parametrize(
    "ending",
    [
        [node("Softmax", ["scores"], ["out"], axis=1)],
        [node("LogSoftmax", ["scores"], ["out"], axis=-1)],
        [node("Softmax", ["scores"], ["p"]), node("Identity", ["p"], ["out"])],
        [node("Softmax", ["scores"], ["p"]), node("Flatten", ["p"], ["out"])],
    ],
    ids=["softmax", "log-softmax", "softmax then identity", "softmax then flatten"],
)
def test_a_final_softmax_is_taken_off(tmp_path: Path, ending: list[Any]) -> None:
    found = imported(classifier([*body(), *ending], outputs=["out"]), tmp_path).model
    assert found.graph.node[-1].op_type == "Gemm"
    assert np.allclose(answer(found, images()), answer(classifier(), images()), atol=1e-6)


def test_a_softmax_inside_the_graph_stays(tmp_path: Path) -> None:
    nodes = [*body(), node("Softmax", ["scores"], ["p"]), node("Add", ["p", "scores"], ["out"])]
    found = imported(classifier(nodes, outputs=["out"]), tmp_path).model
    assert "Softmax" in {entry.op_type for entry in found.graph.node}


def test_scores_with_axes_of_one_are_flattened(tmp_path: Path) -> None:
    nodes = body()[:3]
    nodes[2].output[0] = "out"
    found = imported(classifier(nodes, outputs=["out"]), tmp_path, labels=tuple("abcde")).model
    assert answer(found, images()).shape == (2, 5)


def test_a_model_that_ends_in_a_decision_is_told_what_to_name(tmp_path: Path) -> None:
    model = classifier([*body(), node("ArgMax", ["scores"], ["out"], "last")], outputs=["out"])
    assert "with --output (here perhaps 'scores')" in refusal(UnsupportedGraph, model, tmp_path)
    assert imported(model, tmp_path, output="scores")


def test_several_outputs_need_a_choice(tmp_path: Path) -> None:
    other = node("Gemm", ["flat", "head.weight"], ["others"], "other", transB=1)
    model = classifier([*body(), other, node("Identity", ["scores"], ["own"])], outputs=["own", "others"])
    assert "choose one with --output: own ([" in refusal(OptionMismatch, model, tmp_path)
    assert imported(model, tmp_path, output="scores").model.graph.node[-1].op_type == "Gemm"
    assert "no such tensor" in refusal(OptionMismatch, model, tmp_path, output="nothing")


def fixed_batch_graphs() -> dict[str, tuple[list[Any], dict[str, Any], int]]:
    def integers(*values: int) -> NDArray[np.int64]:
        return np.array(values, dtype=np.int64)

    tail = body("flat")
    token = {"token": np.ones((1, 1, 5), np.float32)}
    tokens = [
        *body()[:2],
        node("Reshape", ["r", "rows"], ["seq"]),
        node("Transpose", ["seq"], ["steps"], perm=[0, 2, 1]),
        node("Concat", ["token", "steps"], ["all"], axis=1),
        node("ReduceMean", ["all", "axis"], ["flat"], keepdims=0),
        tail[4],
    ]
    heads = [
        *body()[:2],
        node("Reshape", ["r", "rows"], ["seq"]),
        node("Transpose", ["seq"], ["first"], perm=[2, 0, 1]),  # positions, samples, channels
        node("Reshape", ["first", "split"], ["split_heads"]),
        node("Transpose", ["split_heads"], ["per_head"], perm=[1, 0, 2]),
        node("Reshape", ["per_head", "joined"], ["back"]),
        node("ReduceMean", ["back", "last"], ["flat"], keepdims=0),
        tail[4],
    ]
    reshaped = [*body()[:3], node("Reshape", ["pooled", "target"], ["flat"]), tail[4]]
    strided = [
        *body()[:3],
        node("Reshape", ["pooled", "all"], ["line"]),
        node("Gather", ["line", "index"], ["flat"], axis=0),
        tail[4],
    ]
    order = integers(1, 2, 3, 4, 0)
    return {
        "strides of one": (strided, {"all": integers(-1), "index": order[None]}, 1),
        "strides of three": (strided, {"all": integers(-1), "index": order + integers(0, 5, 10)[:, None]}, 3),
        "flattening reshape": (reshaped, {"target": integers(1, 5)}, 1),
        "flattening reshape with -1": (reshaped, {"target": integers(1, -1)}, 1),
        "batch of three": (reshaped, {"target": integers(3, 5)}, 3),
        "class token": (tokens, {**token, "rows": integers(1, 5, 36), "axis": integers(1)}, 1),
        "batch beside the heads": (
            heads,
            {
                "rows": integers(1, 5, 36),
                "split": integers(36, 5, 1),
                "joined": integers(1, 5, 36),
                "last": integers(2),
            },
            1,
        ),
        "shape arithmetic": (
            [*body()[:3], node("Shape", ["pooled"], ["s"], end=2), node("Reshape", ["pooled", "s"], ["flat"]), tail[4]],
            {},
            1,
        ),
    }


@pytest.mark.parametrize("name", fixed_batch_graphs())
def test_a_fixed_batch_is_made_free(tmp_path: Path, name: str) -> None:
    nodes, constants, batch = fixed_batch_graphs()[name]
    model = classifier(nodes, constants=constants, image=(batch, 3, 6, 6))
    found = imported(model, tmp_path)
    several = images(5 * batch)
    expected = np.concatenate([answer(model, part) for part in np.split(several, 5)])
    assert np.allclose(answer(found.model, several), expected, atol=1e-5)
    assert f"exported for batches of {batch}" in " ".join(found.notes)


def test_a_batch_of_minus_one_is_free(tmp_path: Path) -> None:
    """So PaddlePaddle writes it."""
    found = imported(classifier(image=(-1, 3, 6, 6)), tmp_path)
    assert found.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert not any("batches of" in note for note in found.notes)


def test_a_graph_that_mixes_its_samples_is_refused(tmp_path: Path) -> None:
    mean = [node("ReduceMean", ["scores", "axis"], ["m"], "mean"), node("Sub", ["scores", "m"], ["out"])]
    constants = {"axis": np.array([0], dtype=np.int64)}
    model = classifier([*body(), *mean], constants=constants, outputs=["out"], image=(2, 3, 6, 6))
    assert "ReduceMean (node 'mean')" in refusal(UnsupportedOperator, model, tmp_path)


def test_a_free_image_size_needs_a_flag(tmp_path: Path) -> None:
    model = classifier(image=("N", 3, "H", "W"))
    assert "--size HEIGHT,WIDTH" in refusal(OptionMismatch, model, tmp_path)
    found = imported(model, tmp_path, size=(8, 10))
    assert (found.input.height, found.input.width) == (8, 10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": (8, 8)}, "--size says 8 where the model is fixed to 6"),
        ({"crop": 5}, "--crop 5: the model takes images of 6 x 6"),
        ({"resize": 5}, "--resize 5: nothing of 6 x 6 can be cropped"),
        ({"mean": (0.5, 0.5)}, "--mean has 2 values; the model's images have 3 channels"),
        ({"std": (0.5, 0.5, 0.0)}, "--std"),
        ({"labels": ("a", "b")}, "--labels names 2 classes, but the model has 4"),
    ],
)
def test_flags_that_contradict_the_graph_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(OptionMismatch, classifier(), tmp_path, **changes)


def test_channels_last_are_recognised(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), *body()]
    nodes[1].input[0] = "x"
    found = imported(classifier(nodes, image=("N", 6, 7, 3)), tmp_path)
    assert (found.input.layout, found.input.height, found.input.width) == ("nhwc", 6, 7)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (classifier(image=("N", 3, 36)), "no image input"),
        (classifier(image=("N", 5, 6, 6)), "no axis of 1 or 3 channels"),
        (classifier(element=TensorProto.UINT8), "Conv (node 'conv') computes with the integers of input 'image'"),
        (classifier(body()[:2], outputs=["r"]), "not [N, classes]: no classifier"),
    ],
    ids=["three axes", "five channels", "integers", "no classes"],
)
def test_what_is_no_image_classifier_is_refused(tmp_path: Path, model: ModelProto, words: str) -> None:
    assert words in refusal(UnsupportedGraph, model, tmp_path)


def test_foreign_operators_are_refused_unless_the_answer_does_not_need_them(tmp_path: Path) -> None:
    nodes = [*body(), node("Binarizer", ["scores"], ["binary"], "last", domain="ai.onnx.ml")]
    model = classifier(nodes, outputs=["scores", "binary"], domains=["ai.onnx.ml"])
    assert "ai.onnx.ml::Binarizer (node 'last')" in refusal(UnsupportedOperator, model, tmp_path, output="binary")
    assert imported(model, tmp_path, output="scores")


def test_weights_made_in_the_graph_become_initializers(tmp_path: Path) -> None:
    nodes = [
        node("ConstantOfShape", ["shape"], ["w"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])),
        node("Constant", [], ["b"], value=helper.make_tensor("v", TensorProto.FLOAT, [4], [1, 2, 3, 4])),
        *body(),
    ]
    nodes[-1].input[1:3] = ["w", "b"]
    found = imported(classifier(nodes, constants={"shape": np.array([4, 5], dtype=np.int64)}), tmp_path)
    assert {"w", "b"} <= {tensor.name for tensor in found.model.graph.initializer}
    assert not {"w", "b"} & set(found.constants)


def test_numbered_weights_take_the_name_of_their_bias_or_their_scope(tmp_path: Path) -> None:
    values = weights()
    nodes = body()
    nodes[0].name = "/layer1/layer1.0/conv1/Conv"
    nodes[0].input[1:3] = ["onnx::Conv_12", "onnx::Conv_13"]
    nodes[4].input[1] = "val_7"
    extra = {
        "onnx::Conv_12": values["conv.weight"],
        "onnx::Conv_13": values["conv.bias"],
        "val_7": values["head.weight"],
    }
    found = imported(classifier(nodes, constants=extra), tmp_path).model
    assert {tensor.name for tensor in found.graph.initializer} == {
        "layer1.0.conv1.weight",
        "layer1.0.conv1.bias",
        "head.weight",
        "head.bias",
    }


def test_scalars_and_batchnorm_statistics_are_no_parameters(tmp_path: Path) -> None:
    nodes = [
        *body(),
        node("Mul", ["scores", "half"], ["halved"]),
        node("BatchNormalization", ["halved", "gain", "shift", "mean", "variance"], ["out"]),
    ]
    four = {name: np.full(CLASSES, 0.5, np.float32) for name in ("gain", "shift", "mean", "variance")}
    model = classifier(nodes, constants={"half": np.array(0.5, np.float32), **four}, outputs=["out"])
    assert set(imported(model, tmp_path).constants) == {"half", "mean", "variance"}


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 17, 21, 23])
def test_old_and_new_opsets_come_to_the_same_one(tmp_path: Path, opset: int) -> None:
    model = classifier([*body(), node("Softmax", ["scores"], ["out"], axis=1)], outputs=["out"], opset=opset)
    found = imported(model, tmp_path).model
    assert [entry.version for entry in found.opset_import] == [OPSET]
    assert np.allclose(answer(found, images()), answer(classifier(), images()), atol=1e-6)


def test_an_opset_too_old_is_refused(tmp_path: Path) -> None:
    assert "opset 6 is outside 7 to" in refusal(UnsupportedGraph, classifier(opset=6), tmp_path)


def test_resizing_before_opset_11_keeps_its_asymmetric_grid(tmp_path: Path) -> None:
    nodes = [node("Upsample", ["image", "scales"], ["x"], mode="linear"), *body()]
    nodes[1].input[0] = "x"
    model = classifier(nodes, constants={"scales": np.array([1, 1, 2, 2], np.float32)}, opset=9)
    resize = next(entry for entry in imported(model, tmp_path).model.graph.node if entry.op_type == "Resize")
    modes = {entry.name: entry.s for entry in resize.attribute}
    assert modes["coordinate_transformation_mode"] == b"asymmetric"
    assert modes["nearest_mode"] == b"floor"


def test_operators_newer_than_the_pinned_opset_are_written_out(tmp_path: Path) -> None:
    nodes = body()
    nodes[1] = node("Swish", ["y"], ["r"])
    model = classifier(nodes, opset=24)
    x = answer(classifier(body()[:1], outputs=["y"]), images())
    pooled = (x / (1 + np.exp(-x))).mean(axis=(2, 3))
    expected = pooled @ weights()["head.weight"].T + weights()["head.bias"]
    assert np.allclose(answer(imported(model, tmp_path).model, images()), expected, atol=1e-5)


def branching(condition: list[Any], batch: int | str) -> ModelProto:
    """`body` with an If for a rectifier: the weight `gain` and the tensor `y` are read from outside the branch."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(operator, ["y"], [f"{name}_y"]), node("Mul", [f"{name}_y", "gain"], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
        )
        for name, operator in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [body()[0], *condition, node("If", ["yes"], ["r"], "choice", **branches), *body()[2:]]
    constants = {"gain": np.array([[[1.5]]], np.float32), "channels": np.array([5]), "zero": np.array(0, np.float32)}
    return classifier(nodes, constants=constants, image=(batch, 3, SIZE, SIZE))


BY_SHAPE = [node("Shape", ["y"], ["size"], start=1, end=2), node("Equal", ["size", "channels"], ["yes"])]
BY_IMAGE = [node("ReduceMax", ["y"], ["most"], keepdims=0), node("Greater", ["most", "zero"], ["yes"])]


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_branch_that_the_shapes_decide_is_taken(tmp_path: Path, batch: int | str) -> None:
    model = branching(BY_SHAPE, batch)
    ready = prepare(imported(model, tmp_path).model)
    several = images(3)
    expected = np.concatenate([answer(model, image[None]) for image in several])
    assert np.allclose(answer(ready.forward, several), expected, atol=1e-5)
    assert not any(entry.op_type == "If" for entry in ready.forward.graph.node)


def test_a_branch_that_the_image_decides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperator, match=r"If \(node 'choice'\): its condition depends on the image"):
        prepare(imported(branching(BY_IMAGE, "N"), tmp_path).model)


def test_local_functions_are_written_out(tmp_path: Path) -> None:
    model = classifier([*body()[:1], node("Act", ["y"], ["r"], domain="mine"), *body()[2:]], domains=["mine"])
    model.functions.append(
        helper.make_function("mine", "Act", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 20)])
    )
    found = imported(model, tmp_path).model
    assert np.allclose(answer(found, images()), answer(classifier(), images()))
    assert not found.functions
