"""Arithmetic with sizes in float64, such as ⌊height · 1.3333⌋, which keeps its type.

In float32 it might round to another whole number. It is what is computed from a Shape, and not from the image.
"""

from __future__ import annotations

from onnx import GraphProto, NodeProto, TensorProto, helper

from export.graph.attributes import attribute_of
from export.graph.branches import names_read
from export.graph.graph import stored_tensors
from export.graph.names import OWN

MEASURES = {"Shape", "Size"}


def measuring_nodes(graph: GraphProto) -> list[int]:
    """Return the positions of the nodes that compute with sizes."""
    image, sizes = {value.name for value in graph.input}, set[str]()
    found = []
    for position, node in enumerate(graph.node):
        read = set(names_read([node]))
        if node.op_type in MEASURES:
            sizes.update(node.output)
        elif read & image:
            image.update(node.output)
        elif read & sizes:
            sizes.update(node.output)
            found.append(position)
    return found


def keep_apart(graph: GraphProto) -> set[str]:
    """Keep float64 arithmetic with sizes apart from the rest of the graph, in place.

    Its constants become copies of its own, and what the rest reads of it is cast to float32. Returns the names of all
    tensors, stored and computed, that are to stay float64.
    """
    stored = {name: t for name, t in stored_tensors(graph).items() if t.data_type == TensorProto.DOUBLE}
    positions = measuring_nodes(graph)
    measuring = [graph.node[position] for position in positions]
    kept: set[str] = set()
    for node in measuring:
        for index, name in enumerate(node.input):
            if name in stored:
                copy = f"{name}{OWN}float64"
                if copy not in kept:
                    graph.initializer.add().CopyFrom(stored[name])
                    graph.initializer[-1].name = copy
                    kept.add(copy)
                node.input[index] = copy
        is_cast = node.op_type == "Cast"
        if attribute_of(node, "to") == TensorProto.DOUBLE if is_cast else kept.intersection(node.input):
            kept.update(node.output)
    read = {value.name for value in graph.output}.union(names_read(graph.node))
    for tensor in [tensor for tensor in graph.initializer if tensor.name in stored and tensor.name not in read]:
        graph.initializer.remove(tensor)
    nodes: list[NodeProto] = []
    cast: set[str] = set()
    inside = set(positions)
    for position, node in enumerate(graph.node):
        for index, name in enumerate(node.input):
            if position not in inside and name in kept:
                if name not in cast:
                    cast.add(name)
                    nodes.append(helper.make_node("Cast", [name], [f"{name}{OWN}float32"], to=TensorProto.FLOAT))
                node.input[index] = f"{name}{OWN}float32"
        nodes.append(node)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    return kept
