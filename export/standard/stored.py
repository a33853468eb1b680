"""Constants that a branch or the body of a loop stores itself, moved into the model's own graph.

There they are parameters as any other, and the steps of an unrolled loop share them.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto

from export.graph.branches import branches


def with_constants_outside(model: ModelProto) -> ModelProto:
    """Return `model`, whose names are distinct, with all constants in its own graph; itself where they are.

    A constant that a branch puts out as it is stays there.
    """
    if not any(_stores(branch) for branch in branches(model.graph)):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    constants = [node for branch in branches(copy.graph) for node in _taken_out(branch, copy.graph)]
    nodes = [*constants, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _stores(graph: GraphProto) -> bool:
    return (
        bool(graph.initializer)
        or any(node.op_type == "Constant" for node in graph.node)
        or any(_stores(branch) for branch in branches(graph))
    )


def _taken_out(graph: GraphProto, model: GraphProto) -> list[NodeProto]:
    """Move initializers of `graph` and what is inside it to `model`; take Constant nodes out and return them."""
    found = [node for branch in branches(graph) for node in _taken_out(branch, model)]
    put_out = {value.name for value in graph.output}
    model.initializer.extend(tensor for tensor in graph.initializer if tensor.name not in put_out)
    kept = [tensor for tensor in graph.initializer if tensor.name in put_out]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    moved = [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in put_out]
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in put_out]
    del graph.node[:]
    graph.node.extend(nodes)
    return [*found, *moved]
