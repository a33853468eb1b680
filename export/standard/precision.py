"""The same graph in double precision, for onnx's reference evaluator."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.standard.decompose import decompose


def to_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with every float32 initializer, Constant, Cast, input and output promoted to double.

    Promote a model before it is prepared: constants that were folded in float32 keep an error of 7e-8.
    The scales of a Resize stay float32, because ONNX allows no other type.
    """
    promoted = onnx.ModelProto()
    promoted.CopyFrom(decompose(model))
    graph = promoted.graph
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize" and len(node.input) > 2}
    for tensor in graph.initializer:
        if tensor.name not in scales:
            _promote_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in (*graph.node, *(node for function in promoted.functions for node in function.node)):
        if not scales.intersection(node.output):
            _promote_node(node)
    return promoted


def _promote_node(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _promote_tensor(attribute.t)
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE
    if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
        values = np.array(helper.get_attribute_value(node.attribute[0]), dtype=np.float64)
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(values)))


def _promote_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
