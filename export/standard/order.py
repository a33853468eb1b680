"""Topological order of a graph's nodes, which some writers leave to the reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto

from export.graph.branches import names_read
from export.graph.errors import InvalidModel
from export.graph.graph import open_inputs


def in_order(model: ModelProto) -> ModelProto:
    """Return `model` with its nodes in topological order; the model itself where they are so already.

    Raises InvalidModel where a tensor is made twice, by no node, or from itself.
    """
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    given = [value.name for value in open_inputs(graph)]
    produced = [name for node in graph.node for name in node.output if name]
    made = Counter([*given, *(tensor.name for tensor in graph.initializer), *produced])
    twice = next((name for name, count in made.items() if count > 1), None)
    if twice is not None:
        raise InvalidModel(f"tensor {twice!r} is made more than once")
    known = {*given, *stored}
    if _is_sorted(graph, set(known)):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    copy.graph.node.extend(_sorted(graph, known, set(made)))
    return copy


def _is_sorted(graph: GraphProto, known: set[str]) -> bool:
    for node in graph.node:
        if not known.issuperset(names_read([node])):
            return False
        known.update(node.output)
    return True


def _sorted(graph: GraphProto, known: set[str], made: set[str]) -> Iterator[NodeProto]:
    waiting = list(graph.node)
    for node in waiting:
        for name in names_read([node]):
            if name not in made:
                raise InvalidModel(f"node {node.name or node.op_type!r} reads {name!r}, which nothing produces")
    while waiting:
        ready = [node for node in waiting if known.issuperset(names_read([node]))]
        if not ready:
            raise InvalidModel(f"node {waiting[0].name or waiting[0].op_type!r} reads what is made from its own output")
        yield from ready
        known.update(name for node in ready for name in node.output)
        done = set(map(id, ready))
        waiting = [node for node in waiting if id(node) not in done]
