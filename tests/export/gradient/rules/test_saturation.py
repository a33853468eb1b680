"""A saturated unit's gradient is tiny, not zero: float32 keeps its digits where the formula at hand would cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, differentiate, prepare, to_float64
from export.running.reference import evaluate

POINTS = np.linspace(-12, 12, 49)


def network(operator: str, attributes: dict[str, Any]) -> onnx.ModelProto:
    """image → operator → linear, and nothing beside it."""
    width = len(POINTS)
    weight = np.random.default_rng(0).uniform(0.01, 0.02, (width, 3)) * [1, -1, 1]
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["image"], ["y"], name="operator", **attributes),
            helper.make_node("MatMul", ["y", "head.weight"], ["scores"], name="head"),
        ],
        "saturated",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight.astype(np.float32), "head.weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Elu", {}),
        ("Selu", {}),
        ("Celu", {"alpha": 0.5}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Softmax", {"axis": 1}),
    ],
)
def test_every_entry_of_a_saturated_gradient_keeps_three_digits(operator: str, attributes: dict[str, Any]) -> None:
    model = network(operator, attributes)
    given = {
        "input": POINTS[None].astype(np.float32),
        "label": np.array([0]),
        "cotangent_scale": np.ones(1, np.float32),
    }
    graph = differentiate(prepare(model), ["input_gradient"])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, given)[0]
    promoted = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in given.items()}
    exact = evaluate(differentiate(prepare(to_float64(model)), ["input_gradient"]), promoted)["input_gradient"]
    assert np.abs(exact).min() > 0
    np.testing.assert_allclose(found, exact, rtol=1e-3)
