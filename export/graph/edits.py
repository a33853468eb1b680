"""Edits of a model's proto that leave what it computes unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, ModelProto, TensorProto, helper

from export.graph.branches import branches_of, names_read
from export.graph.graph import IR_VERSION


def keep_only(model: ModelProto, output: str) -> ModelProto:
    """Return a copy that computes `output` alone, without what that does not need; initializers are no inputs there."""
    graph = model.graph
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(name for name in node.output if name):
            nodes.append(node)
            needed.update(names_read([node]))
    weights = {tensor.name for tensor in graph.initializer}
    kept = ModelProto()
    kept.CopyFrom(_without_graph(model))
    kept.graph.name = graph.name or "classifier"
    kept.graph.node.extend(reversed(nodes))
    kept.graph.input.extend(value for value in graph.input if value.name in needed and value.name not in weights)
    kept.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in needed)
    known = next((value for value in (*graph.output, *graph.value_info) if value.name == output), None)
    kept.graph.output.append(known or helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return kept


def _without_graph(model: ModelProto) -> ModelProto:
    shell = ModelProto()
    for name in ("ir_version", "producer_name", "producer_version"):
        setattr(shell, name, getattr(model, name))
    shell.ir_version = max(shell.ir_version, IR_VERSION)  # older versions demand initializers among the inputs
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell


def rename_tensors(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors in `graph` and all its branches, in place."""
    for node in graph.node:
        for branch in branches_of(node):
            rename_tensors(branch, names)
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = names.get(name, name)
    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.name = names.get(entry.name, entry.name)
