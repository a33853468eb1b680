"""Weights that a file stores in 8 bits, where the network it stands for has floats."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph.graph import IR_VERSION, STANDARD, stored_tensors
from export.importing.answer.head import rename_tensors

REFERENCE_OPSET = 21
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
SUFFIX = "_DequantizeLinear_Output"  # ONNX Runtime's quantizer adds it to a weight's name
DEQUANTIZED = "weights that the file stores as integers are taken as the floats they stand for"


def with_float_weights(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """A copy in which what is dequantized from constants is an initializer, and a note if there was any."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    constants = stored_tensors(graph)
    kept: list[NodeProto] = []
    found: dict[str, TensorProto] = {}
    for node in graph.node:
        known = all(name in constants for name in node.input if name)
        if node.op_type in QUANTIZERS and known and node.domain in STANDARD:
            constants[node.output[0]] = found[node.output[0]] = _value(copy, node, constants)
        else:
            kept.append(node)
    if not found:
        return model, ()
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(found.values())
    rename_tensors(graph, _plain_names(graph, found))
    return copy, (DEQUANTIZED,)


def _value(model: ModelProto, node: NodeProto, constants: dict[str, TensorProto]) -> TensorProto:
    """The value that one node makes of constants, by onnx's reference evaluator, which knows it from opset 19."""
    operands = []
    for name in node.input:
        if name:
            tensor = TensorProto()
            tensor.CopyFrom(constants[name])
            tensor.name = name
            operands.append(tensor)
    output = helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)
    version = max(REFERENCE_OPSET, *(entry.version for entry in model.opset_import if entry.domain in STANDARD))
    alone = helper.make_model(
        helper.make_graph([node], "constant", [], [output], operands),
        opset_imports=[helper.make_opsetid("", version)],
        ir_version=IR_VERSION,
    )
    return numpy_helper.from_array(np.asarray(next(iter(ReferenceEvaluator(alone).run(None, {})))), node.output[0])


def _plain_names(graph: GraphProto, found: dict[str, TensorProto]) -> dict[str, str]:
    """The weights' own names, without what the quantizer added, where those are free."""
    taken = {entry.name for entry in (*graph.initializer, *graph.input, *graph.output)}
    taken |= {name for node in graph.node for name in node.output}
    names = {name: name.removesuffix(SUFFIX) for name in found}
    return {name: plain for name, plain in names.items() if plain != name and plain not in taken}
