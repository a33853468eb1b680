"""Evaluation of a single node whose operands are known, by onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph.errors import UnsupportedOperator, first_line
from export.graph.graph import IR_VERSION, OPSET, Array, Node

ADVICE = "fix the image size, and export without data-dependent shapes"


def evaluate(node: Node, operands: Mapping[str, Array], opset: int = OPSET) -> list[Array]:
    """Return the values of the node's named outputs, in their order.

    Raises UnsupportedOperator where the evaluator does not know the node, or it does not fit its operands.
    """
    if node.operator == "Constant":
        return [stored_value(node)]
    graph = helper.make_graph(
        [node.to_proto()],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in operands.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.outputs if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    try:
        return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, dict(operands))]
    except Exception as error:
        reason = f"its constant value cannot be computed ({first_line(error)})"
        raise UnsupportedOperator(node.operator, node.name or node.outputs[0], reason, ADVICE) from error


def stored_value(node: Node) -> Array:
    """Return the array that a `Constant` node holds; UnsupportedOperator for text and sparse tensors."""
    kind, value = next(iter(node.attributes.items()))
    if kind == "value":
        return numpy_helper.to_array(value)
    if kind in ("value_float", "value_floats"):
        return np.array(value, dtype=np.float32)
    if kind in ("value_int", "value_ints"):
        return np.array(value, dtype=np.int64)
    raise UnsupportedOperator(
        "Constant", node.name or node.outputs[0], "it holds no dense tensor of numbers", "store it as an initializer"
    )
