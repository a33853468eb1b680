"""A product with a vector, rewritten as one with a matrix of one row or column."""

from __future__ import annotations

from export.graph.graph import Node
from export.tracing.rewriting.parts import Parts
from export.tracing.walk import Walk


def with_matrices(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes that take the place of a `MatMul` with an operand of one axis; none for any other node."""
    if node.operator != "MatMul":
        return []
    is_row, is_column = (len(walk.shape(name)) == 1 for name in node.inputs)
    if not (is_row or is_column):
        return []
    parts, (left, right) = Parts(node), node.inputs
    left = parts.arranged(left, [1, -1]) if is_row else left
    right = parts.arranged(right, [-1, 1]) if is_column else right
    axes = [axis for axis, is_added in ((-2, is_row), (-1, is_column)) if is_added]
    parts.give(parts.add("Squeeze", parts.add("MatMul", left, right), parts.constant(axes)), node.outputs[0])
    return parts.nodes
