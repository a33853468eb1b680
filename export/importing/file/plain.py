"""A file's graph cut down to what its scores need, at our opset; anything but float32 ONNX is refused."""

from __future__ import annotations

from onnx import AttributeProto, ModelProto, TensorProto

from export.graph.edits import keep_only
from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import STANDARD
from export.importing.file.ml_operators import with_standard_operators
from export.standard.fusions import in_their_own_domain, is_fusion
from export.standard.opset import at_our_opset, inlined, opset_of

INTEGER_OPERATORS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
}
OF_ONE_PROCESSOR = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that read images and weights in blocks, as wide as the processor's registers."""
REFUSED_TYPES = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}


def standardize(model: ModelProto, output: str) -> ModelProto:
    """Return `model` cut down to what `output` needs, with its functions inlined, at our opset.

    Raises UnsupportedOperator for foreign domains and quantized operators, UnsupportedGraph for
    element types other than float32 and for opsets out of range.
    """
    opset_of(model)  # refuses an unknown opset first, whatever else is wrong
    model = in_their_own_domain(keep_only(with_standard_operators(inlined(model)), output))
    _refuse_foreign(model)
    _refuse_types(model)
    return keep_only(at_our_opset(model), output)


def _refuse_foreign(model: ModelProto) -> None:
    """Raise UnsupportedOperator for operators outside the standard domain and for quantized ones."""
    for node in model.graph.node:
        if node.domain in OF_ONE_PROCESSOR:
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "ONNX Runtime optimized the file for the processor of the machine that saved it",
                "import the file it was made from, or save it at optimization level 'extended' or lower",
            )
        if node.domain not in STANDARD and not is_fusion(node):
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "the operator is not standard ONNX, so its derivative is not known",
                "export the model with standard operators, or name an earlier tensor with --output",
            )
        if node.op_type in INTEGER_OPERATORS:
            raise UnsupportedOperator(
                node.op_type,
                node.name or node.output[0],
                "int8 (quantized) graphs cannot be differentiated",
                "import the float32 model it was made from",
            )


def _refuse_types(model: ModelProto) -> None:
    """Raise UnsupportedGraph for a graph that computes in anything but float32."""
    tensors = [(tensor.name, tensor.data_type) for tensor in model.graph.initializer]
    tensors += [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                tensors.append((node.output[0], attribute.i))
            if attribute.type == AttributeProto.TENSOR and node.op_type == "Constant":
                tensors.append((node.output[0], attribute.t.data_type))
    for name, kind in tensors:
        # A float64 cast or constant inside shape arithmetic is harmless; half precision never is.
        if kind in REFUSED_TYPES and (kind != TensorProto.DOUBLE or name in {v.name for v in model.graph.input}):
            raise UnsupportedGraph(
                f"tensor {name!r} is {REFUSED_TYPES[kind]}: only float32 graphs are differentiated; "
                "export the model in float32"
            )
