"""The graphs inside a graph's nodes (the branches of an `If`), and the names that each defines and reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, GraphProto, NodeProto


def branches(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield the graphs inside a graph's nodes, in their order, without those within them."""
    for node in graph.node:
        yield from branches_of(node)


def branches_of(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that a node holds as attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph inside it, however deep."""
    yield graph
    for branch in branches(graph):
        yield from all_graphs(branch)


def defined_names(graph: GraphProto) -> Iterator[str]:
    """Yield the inputs, stored tensors and outputs of nodes of one graph, without its branches."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def names_read(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """Yield the tensors that nodes read, and those of the graph around them that their branches read."""
    for node in nodes:
        yield from (name for name in node.input if name)
        for branch in branches_of(node):
            own = set(defined_names(branch))
            yield from (name for name in names_read(branch.node) if name not in own)
            yield from (value.name for value in branch.output if value.name not in own)
