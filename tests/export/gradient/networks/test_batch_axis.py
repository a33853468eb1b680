"""The samples need not lie on the first axis: tokens first, windows stacked into the batch, A transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, UnsupportedOperator, differentiate, prepare, to_float64
from export.running.reference import evaluate
from tests.export.gradient.rules.oracles import directional_derivative, numerical_gradient

BATCH, TOKENS, WIDTH, CLASSES = 3, 4, 6, 4
OUTPUTS = ("logits", "weight_square", "bias_square", "other_square", "batch_square", "input_gradient")

Step = tuple[str, list[str], dict[str, Any]]

BLOCK: list[Step] = [
    ("MatMul", ["h", "mix.weight"], {}),
    ("Add", ["h", "mix.bias"], {}),
    ("LayerNormalization", ["h", "norm.weight", "norm.bias"], {}),
    ("PRelu", ["h", "slope"], {}),
]
TOKENS_FIRST: list[Step] = [
    ("Transpose", ["h"], {"perm": [1, 0, 2]}),
    *BLOCK,
    ("Slice", ["h", "one", "end", "zero"], {}),
    ("Transpose", ["h"], {"perm": [1, 0, 2]}),
]
TOKENS_PICKED: list[Step] = [
    ("Transpose", ["h"], {"perm": [1, 2, 0]}),
    ("GatherND", ["h", "picked"], {}),
    ("Transpose", ["h"], {"perm": [2, 0, 1]}),
    *BLOCK,
]
WINDOWS_IN_THE_BATCH: list[Step] = [
    ("Reshape", ["h", "windows"], {}),
    *BLOCK,
    ("Softmax", ["h"], {"axis": 1}),
    ("Reshape", ["h", "sample"], {}),
]
A_TRANSPOSED: list[Step] = [
    ("Flatten", ["h"], {"axis": 1}),
    ("Transpose", ["h"], {"perm": [1, 0]}),
    ("Gemm", ["h", "wide.weight", "wide.bias"], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Tanh", ["h"], {}),
]


def network(steps: list[Step], inner: int) -> onnx.ModelProto:
    """image [N, tokens, width] → steps → flatten → linear, and beside it the image → flatten → linear."""
    rng = np.random.default_rng(5)

    def drawn(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(np.float32)

    initializers = {
        "mix.weight": drawn(WIDTH, WIDTH),
        "mix.bias": drawn(WIDTH),
        "norm.weight": drawn(WIDTH),
        "norm.bias": drawn(WIDTH),
        "slope": drawn(1),
        "wide.weight": drawn(5, TOKENS * WIDTH),
        "wide.bias": drawn(5),
        "head.weight": drawn(inner, CLASSES),
        "branch.weight": drawn(TOKENS * WIDTH, CLASSES),
        "picked": np.array([[2], [0], [2], [-1]]),
        "windows": np.array([-1, 2, WIDTH]),
        "sample": np.array([-1, TOKENS, WIDTH]),
        "one": np.array([1]),
        "end": np.array([TOKENS]),
        "zero": np.array([0]),
    }
    nodes = [helper.make_node("Identity", ["image"], ["h0"], name="begin")]
    for index, (operator, names, attributes) in enumerate(steps):
        operands = [f"h{index}" if name == "h" else name for name in names]
        nodes.append(helper.make_node(operator, operands, [f"h{index + 1}"], name=f"{operator}{index}", **attributes))
    nodes += [
        helper.make_node("Flatten", [f"h{len(steps)}"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "head.weight"], ["main"], name="head"),
        helper.make_node("Flatten", ["image"], ["pixels"], name="pixels"),
        helper.make_node("MatMul", ["pixels", "branch.weight"], ["aside"], name="branch"),
        helper.make_node("Add", ["main", "aside"], ["scores"], name="scores"),
    ]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in initializers.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


@pytest.mark.parametrize(
    ("steps", "inner"),
    [
        (TOKENS_FIRST, (TOKENS - 1) * WIDTH),
        (TOKENS_PICKED, 4 * WIDTH),
        (WINDOWS_IN_THE_BATCH, TOKENS * WIDTH),
        (A_TRANSPOSED, 5),
    ],
    ids=["tokens first", "tokens picked", "windows in the batch", "A transposed"],
)
def test_gradients_are_right_wherever_the_samples_lie(steps: list[Step], inner: int) -> None:
    model = to_float64(network(steps, inner))
    ready = prepare(model)
    image = np.random.default_rng(1).normal(size=(BATCH, TOKENS, WIDTH))
    label = np.array([0, 3, 1])
    given = {"input": image, "label": label, "cotangent_scale": np.ones(BATCH)}
    found = evaluate(differentiate(ready, OUTPUTS), given)

    direction = np.random.default_rng(2).normal(size=image.shape)
    projected = (found["input_gradient"] * direction).reshape(BATCH, -1).sum(axis=1)
    np.testing.assert_allclose(projected, directional_derivative(model, image, label, direction), rtol=1e-6)

    def square(parameter: str) -> np.ndarray:
        gradient = numerical_gradient(model, parameter, image, label).reshape(BATCH, -1)
        found: np.ndarray = np.square(gradient).sum(axis=1)
        return found

    for index, layer in enumerate(ready.layers):
        np.testing.assert_allclose(
            found["weight_square"][:, index], square(f"{layer.name}.weight"), rtol=1e-5, atol=1e-18
        )
    biased = [layer.name for layer in ready.layers if layer.bias]
    for index, name in enumerate(biased):
        np.testing.assert_allclose(found["bias_square"][:, index], square(f"{name}.bias"), rtol=1e-5, atol=1e-18)
    for index, other in enumerate(ready.other_parameters):
        np.testing.assert_allclose(found["other_square"][:, index], square(other.name), rtol=1e-5, atol=1e-18)
    trained = {layer.name for layer in ready.layers} | {other.name for other in ready.other_parameters}
    assert {"head", "branch"} < trained


def end_to_end(shift: int) -> onnx.ModelProto:
    """All samples on one axis, gathered by Range(N)·6 + [5, 0, …, 4] + shift, as exported strides are."""
    arrays = {
        "head.weight": np.random.default_rng(3).uniform(-1, 1, (WIDTH, CLASSES)).astype(np.float32),
        "flat": np.array([-1]),
        "first": np.array(0),
        "one": np.array(1),
        "width": np.array(WIDTH),
        "last": np.array([1]),
        "order": np.roll(np.arange(WIDTH), 1) + shift,
    }
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["all"], name="all"),
        helper.make_node("Shape", ["image"], ["sizes"], name="sizes", end=1),
        helper.make_node("Squeeze", ["sizes"], ["count"], name="count"),
        helper.make_node("Range", ["first", "count", "one"], ["samples"], name="samples"),
        helper.make_node("Mul", ["samples", "width"], ["begins"], name="begins"),
        helper.make_node("Unsqueeze", ["begins", "last"], ["rows"], name="rows"),
        helper.make_node("Add", ["rows", "order"], ["index"], name="index"),
        helper.make_node("Gather", ["all", "index"], ["strided"], name="strided"),
        helper.make_node("MatMul", ["strided", "head.weight"], ["scores"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "end to end",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_a_gather_over_all_samples_that_stays_within_each_is_differentiated() -> None:
    model = to_float64(end_to_end(0))
    image, label = np.random.default_rng(1).normal(size=(BATCH, WIDTH)), np.array([0, 3, 1])
    given = {"input": image, "label": label, "cotangent_scale": np.ones(BATCH)}
    found = evaluate(differentiate(prepare(model), ["logits", "input_gradient"]), given)
    np.testing.assert_allclose(found["logits"], evaluate(model, {"image": image})["scores"])
    direction = np.random.default_rng(2).normal(size=image.shape)
    projected = (found["input_gradient"] * direction).sum(axis=1)
    np.testing.assert_allclose(projected, directional_derivative(model, image, label, direction), rtol=1e-6)


def test_a_gather_that_reaches_into_the_next_sample_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match="Gather"):
        differentiate(prepare(end_to_end(1)), ["input_gradient"])
