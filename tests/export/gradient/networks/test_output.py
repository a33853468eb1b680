"""The end of a network: one Softmax is taken off unless the output is said to be logits; and it passes gradients on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, UnsupportedGraph, prepare
from export.running.reference import evaluate

IMAGE = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)


def network(*ends: str) -> onnx.ModelProto:
    """image → linear → `ends`, one after the other."""
    names = ["scores", *(f"end_{number}" for number in range(len(ends)))]
    nodes = [helper.make_node("MatMul", ["image", "head.weight"], ["scores"], name="head")]
    nodes += [helper.make_node(end, [names[i]], [names[i + 1]], name=f"end_{i}") for i, end in enumerate(ends)]
    weight = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "ending",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 5])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "head.weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def softmax(rows: np.ndarray) -> np.ndarray:
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    found: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return found


def own(model: onnx.ModelProto) -> np.ndarray:
    return next(iter(evaluate(model, {"image": IMAGE}).values()))


@pytest.mark.parametrize(
    "ends",
    [("Softmax",), ("Softmax", "Softmax"), ("LogSoftmax", "Softmax"), ("Identity", "Softmax", "Identity")],
    ids=" ".join,
)
def test_the_softmax_of_the_logits_is_the_model_s_own_answer(ends: tuple[str, ...]) -> None:
    ready = prepare(network(*ends))
    logits = evaluate(ready.forward, {"input": IMAGE})["logits"]
    assert np.allclose(softmax(logits), own(network(*ends)), atol=1e-6)
    assert any("the final Softmax was removed" in note for note in ready.notes)


def test_probabilities_that_are_said_to_be_logits_stay() -> None:
    ready = prepare(network("Softmax"), logits=True)
    assert np.allclose(evaluate(ready.forward, {"input": IMAGE})["logits"], own(network("Softmax")), atol=1e-6)
    assert not ready.notes


def test_a_weight_that_no_gradient_reaches_is_named() -> None:
    with pytest.raises(UnsupportedGraph, match=r"no gradient reaches the weight 'head.weight'.*round or compare"):
        prepare(network("Tanh", "Round"), logits=True)


def test_an_image_that_no_gradient_reaches_is_named() -> None:
    model = network("Tanh")
    model.graph.node.insert(0, helper.make_node("Round", ["image"], ["rounded"], name="round"))
    model.graph.node[1].input[0] = "rounded"
    with pytest.raises(UnsupportedGraph, match="no gradient reaches the image"):
        prepare(model, logits=True)
