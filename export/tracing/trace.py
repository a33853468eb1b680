"""Types and values of a model's tensors at one concrete number of samples."""

from __future__ import annotations

import math

import numpy as np
from onnx import TypeProto, defs, helper, numpy_helper
from onnx.shape_inference import infer_node_outputs

from export.graph.errors import UnsupportedOperator, first_line
from export.graph.graph import IR_VERSION, OPSET, Array, Node
from export.tracing.evaluation import ADVICE, evaluate

LARGEST_SHAPE_OPERAND = 4096
"""Size up to which an operand's value is given to shape inference: larger ones decide no shape and cost a copy."""
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


class Trace:
    """The types of all tensors at `batch` samples, and the values of those that do not depend on the image.

    Since all shapes are known, whatever is computed from shapes and constants has a value, for instance the target
    of a `Reshape`.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.values: dict[str, Array] = {}
        self.types: dict[str, TypeProto] = {}

    def know(self, name: str, value: Array) -> None:
        """Record the value of a tensor, and its type with it."""
        self.values[name] = value
        self.types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the sizes of a tensor."""
        return tuple(dimension.dim_value for dimension in self.types[name].tensor_type.shape.dim)

    def evaluate(self, node: Node) -> list[Array] | None:
        """Return the values of the node's outputs, None where one of its operands depends on the image."""
        if node.operator == "Shape" and node.inputs[0] in self.types:
            start, end = node.attribute("start", 0), node.attribute("end")
            return [np.array(self.shape(node.inputs[0])[start:end], dtype=np.int64)]
        if node.operator == "Size" and node.inputs[0] in self.types:
            return [np.array(math.prod(self.shape(node.inputs[0])), dtype=np.int64)]
        if node.operator == "CastLike" and node.inputs[0] in self.values:
            target = self.types[node.inputs[1]].tensor_type.elem_type
            return [self.values[node.inputs[0]].astype(helper.tensor_dtype_to_np_dtype(target))]
        operands = [name for name in node.inputs if name]
        if node.operator in RANDOM or any(name not in self.values for name in operands):
            return None
        return evaluate(node, {name: self.values[name] for name in operands})

    def infer(self, node: Node) -> None:
        """Infer and record the types of the node's outputs.

        Raises UnsupportedOperator where a shape does not follow from the operands' types and small values.
        """
        operands = [name for name in node.inputs if name]
        small = {
            name: numpy_helper.from_array(self.values[name], name)
            for name in operands
            if name in self.values and self.values[name].size <= LARGEST_SHAPE_OPERAND
        }
        try:
            found = infer_node_outputs(
                defs.get_schema(node.operator, OPSET),
                node.to_proto(),
                {name: self.types[name] for name in operands},
                small,
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except Exception as error:
            reason = f"its output shape cannot be inferred ({first_line(error)})"
            raise UnsupportedOperator(node.operator, node.name, reason, ADVICE) from error
        for name in filter(None, node.outputs):
            if name not in found or not _is_static(found[name]):
                raise UnsupportedOperator(node.operator, node.name, "its output shape is not static", ADVICE)
            self.types[name] = found[name]


def _is_static(kind: TypeProto) -> bool:
    tensor = kind.tensor_type
    return tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in tensor.shape.dim)
