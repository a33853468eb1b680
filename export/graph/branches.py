"""The branch that an `If` takes where its condition is known: exporters leave such behind, of ranks and sizes."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, NodeProto, helper


def taken(branch: GraphProto, outputs: Sequence[str], name: str) -> list[NodeProto]:
    """The nodes of `branch` for the graph around it, ending in `outputs`; `name` is the `If` node's.

    Names within a branch differ from those outside, as the standard demands.
    """
    nodes = [
        helper.make_node("Constant", [], [tensor.name], tensor.name, value=tensor) for tensor in branch.initializer
    ]
    nodes += branch.node
    for value, output in zip(branch.output, outputs, strict=True):
        nodes.append(helper.make_node("Identity", [value.name], [output], f"{name}/{output}"))
    return nodes
