"""`If` nodes whose condition is known, such as the tests of rank and size that exporters leave behind."""

from __future__ import annotations

from dataclasses import replace

from onnx import helper

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Node, nodes_of
from export.tracing.evaluation import ADVICE
from export.tracing.walk import Walk


def taken_branch(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes of the branch that an `If` takes, under the `If`'s output names; none for any other node.

    ONNX demands that names within a branch differ from those outside it, so the nodes need no renaming.
    """
    if node.operator != "If" or any(node.inputs[0] not in trace.values for trace in walk.traces):
        return []
    conditions = {bool(trace.values[node.inputs[0]].all()) for trace in walk.traces}
    if len(conditions) > 1:
        raise UnsupportedOperator(node.operator, node.name, "its condition depends on the batch size", ADVICE)
    branch = node.attribute("then_branch" if conditions.pop() else "else_branch")
    protos = [
        helper.make_node("Constant", [], [tensor.name], tensor.name, value=tensor) for tensor in branch.initializer
    ]
    protos += branch.node
    for value, output in zip(branch.output, node.outputs, strict=True):
        protos.append(helper.make_node("Identity", [value.name], [output], f"{node.name}/{output}"))
    return [
        replace(part, name=f"{node.name}/{part.name}") for part in nodes_of(helper.make_graph(protos, "branch", [], []))
    ]
