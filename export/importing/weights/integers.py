"""Weights that a file stores as 8-bit integers, taken as the floats that they stand for."""

from __future__ import annotations

from collections.abc import Collection

from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from export.graph.edits import rename_tensors
from export.graph.graph import STANDARD, Array, node_of, stored_tensors
from export.tracing.evaluation import evaluate

REFERENCE_OPSET = 21
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
SUFFIX = "_DequantizeLinear_Output"  # added to a weight's name by ONNX Runtime's quantizer
DEQUANTIZED = "weights that the file stores as integers are taken as the floats they stand for"


def with_float_weights(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """Return a copy in which what is dequantized from constants is an initializer, and a note if there was any."""
    stored = stored_tensors(model.graph)
    # The reference evaluator knows these operators from opset 19 on, and no earlier one gives them another meaning.
    opset = max(REFERENCE_OPSET, *(entry.version for entry in model.opset_import if entry.domain in STANDARD))
    values: dict[str, Array] = {}
    kept: list[NodeProto] = []
    for node in model.graph.node:
        operands = [name for name in node.input if name]
        known = all(name in stored or name in values for name in operands)
        if node.op_type in QUANTIZERS and known and node.domain in STANDARD:
            given = {name: values[name] if name in values else numpy_helper.to_array(stored[name]) for name in operands}
            values[node.output[0]] = evaluate(node_of(node), given, opset)[0]
        else:
            kept.append(node)
    if not values:
        return model, ()
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    rename_tensors(graph, _plain_names(graph, values))
    return copy, (DEQUANTIZED,)


def _plain_names(graph: GraphProto, found: Collection[str]) -> dict[str, str]:
    """Return the weights' names without what the quantizer added, where those are free."""
    taken = {entry.name for entry in (*graph.initializer, *graph.input, *graph.output)}
    taken |= {name for node in graph.node for name in node.output}
    names = {name: name.removesuffix(SUFFIX) for name in found}
    return {name: plain for name, plain in names.items() if plain != name and plain not in taken}
