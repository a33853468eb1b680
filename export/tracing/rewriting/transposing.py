"""An `Einsum` of one operand that only changes the order of its axes, rewritten as a `Transpose`."""

from __future__ import annotations

from string import ascii_letters

from export.graph.graph import Node
from export.tracing.walk import Walk


def as_transpose(walk: Walk, node: Node) -> list[Node]:
    """Return the `Transpose` that takes the place of such a node; none for any other node.

    A trained constant stays one through a `Transpose`.
    """
    if node.operator != "Einsum" or len(node.inputs) != 1:
        return []
    source, arrow, target = node.attribute("equation").replace(" ", "").partition("->")
    rank = len(walk.shape(node.inputs[0]))
    spare = "".join(letter for letter in ascii_letters if letter not in source)[: rank - len(source.replace(".", ""))]
    source, target = (term.replace("...", spare) for term in (source, target))
    if not arrow or len(set(source)) < len(source) or sorted(source) != sorted(target):
        return []
    order = [source.index(letter) for letter in target]
    return [Node("Transpose", node.inputs, node.outputs, {"perm": order}, node.name)]
