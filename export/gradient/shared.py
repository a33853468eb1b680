"""Shared tensors: the same for all samples and computed from trained constants, as an attention's position bias is.

The forward graph computes such a tensor [*s] once, whatever the batch, but each sample has a gradient of its own:
the cotangent is [N, *s]. So a rule is given the node as it would be if every sample had its own copy of the
tensor: with the samples on a new first axis or, for operators whose first axis has a meaning (`Gemm`, `Conv`),
with N·s₀ rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from export.gradient.norms.layers import weight_operand
from export.gradient.rules import registry
from export.graph.emitter import Emitter
from export.graph.graph import Array, Batch, Graph, N, Node, Shape, static


def keep_trained_chains(graph: Graph) -> None:
    """Put back folded nodes through which trained constants act on the image; add their tensors to `graph.shared`.

    A chain of nodes stays folded where its result must be constant (a kernel computed from weights), or where one of
    its operators is not known here.
    """
    readers = graph.consumers()
    nodes: list[Node] = []
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            if name in graph.derivation and name in graph.constants and _is_computed(graph, name):
                chain = _chain(graph, name)
                met = ((reader, part.outputs[0]) for part in chain for reader in readers.get(part.outputs[0], ()))
                if all(_is_junction(reader, tensor) for reader, tensor in met):
                    nodes += chain
                    for part in chain:
                        _unfold(graph, part.outputs[0])
        nodes.append(node)
    graph.nodes = nodes


def folded_parameters(graph: Graph) -> list[str]:
    """Return the trained initializers that constants were computed from, through which no gradient reaches them."""
    found: set[str] = set()
    seen = {name for node in graph.nodes for name in node.inputs if name in graph.constants}
    waiting = [name for name in seen if graph.source(name) not in graph.parameters]
    while waiting:
        node = graph.derivation.get(waiting.pop())
        if node is None or not registry.carries_gradient(node.operator):
            continue
        for operand in filter(None, node.inputs):
            if graph.source(operand) in graph.parameters:
                found.add(graph.source(operand))
            elif operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return sorted(found)


def per_sample(g: Emitter, node: Node) -> Node:
    """Return the node of a shared tensor as it would be if every sample had a copy of its operands."""
    copies_as = registry.copies(node.operator)
    if copies_as == "rows":
        copies = (copied(g, node.inputs[0], rows=True), *node.inputs[1:])
        return replace(node, inputs=copies, outputs=(copied(g, node.outputs[0], rows=True),))
    rank = len(g.shape(node.outputs[0]))
    moved = _moved(g, node) if copies_as in ("axis", "axes") else node
    if node.operator == "MatMul":
        rank = max(len(g.shape(name)) for name in node.inputs)
    copies = tuple(
        copied(g, name, rank=rank if copies_as == "aligned" else None) if _has_copies(g, moved, index) else name
        for index, name in enumerate(moved.inputs)
    )
    return replace(moved, inputs=copies, outputs=(copied(g, node.outputs[0]),))


def copied(g: Emitter, tensor: str, *, rank: int | None = None, rows: bool = False) -> str:
    """Repeat a shared tensor [*s] for every sample: [N, *s], or [N·s₀, …] where `rows` is True.

    With `rank`, axes of 1 are put between N and s until s has that many axes.
    """
    sizes = static(g.shape(tensor))
    wide: tuple[int, ...] = (*[1] * ((rank or 0) - len(sizes)), *sizes)
    samples = g.op("Shape", g.graph.input, start=0, end=1)
    target = g.op("Concat", samples, g.ints(wide), axis=0) if wide else samples
    copy = g.op("Expand", g.reshape(tensor, (1, *wide)), target)
    shape: Shape = (N, *wide)
    if rows:
        shape = (Batch(1, sizes[0]), *sizes[1:])
        copy = g.reshape(copy, shape)
    g.graph.shapes[copy], g.graph.dtypes[copy] = shape, _dtype(g.graph, tensor)
    return copy


def of_copies(g: Emitter, cotangent: str, tensor: str, copy: str) -> str:
    """Return the cotangent [N, *s] of a shared tensor in the shape of the copy that `per_sample` made of it."""
    shape = g.shape(copy)
    return cotangent if shape == (N, *g.shape(tensor)) else g.reshape(cotangent, shape)


def _dtype(graph: Graph, name: str) -> np.dtype[Any]:
    return graph.constants[name].dtype if name in graph.constants else graph.dtypes[name]


def _is_computed(graph: Graph, name: str) -> bool:
    """Tell whether a float constant is more than a rearranged parameter."""
    return name not in graph.origin and np.issubdtype(graph.constants[name].dtype, np.floating)


def _is_junction(reader: Node, name: str) -> bool:
    """Tell whether a shared tensor may meet one of the image here: its gradient is summed sample by sample."""
    if reader.operator in ("Expand", "Tile"):
        return reader.inputs[0] == name
    return registry.copies(reader.operator) == "aligned" and reader.operator != "MatMul"


def _chain(graph: Graph, name: str) -> list[Node]:
    """Return the nodes that compute a constant from trained ones, in order.

    Returns none where no trained constant takes part, or one of the nodes is not known here.
    """
    nodes: dict[str, Node] = {}

    def trained(constant: str) -> bool | None:
        """Tell whether a constant depends on a trained one; None where the nodes between cannot be put back."""
        if graph.source(constant) in graph.parameters or constant in nodes or constant in graph.shared:
            return True
        node = graph.derivation.get(constant)
        if node is None or not registry.carries_gradient(node.operator):
            return False
        answers = [trained(operand) for operand in node.inputs if operand]
        if None in answers or (any(answers) and not _is_known(graph, node)):
            return None
        if any(answers):
            nodes[constant] = node
        return any(answers)

    return list(nodes.values()) if trained(name) else []


def _is_known(graph: Graph, node: Node) -> bool:
    copies_as = registry.copies(node.operator)
    if copies_as is None or len(node.outputs) > 1:
        return False
    if node.operator == "MatMul" and not _is_plain_product(graph, node):
        return False
    fixed = node.inputs[1:] if copies_as == "rows" or node.operator == "LayerNormalization" else ()
    return all(not name or name in graph.origin or name not in graph.derivation for name in fixed)


def _is_plain_product(graph: Graph, node: Node) -> bool:
    """Tell whether the weight, where an operand is one, is a matrix and the other operand not a parameter."""
    weight = weight_operand(graph, node)
    others = (name for name in node.inputs if name != weight)
    return weight is None or (
        graph.constants[weight].ndim == 2 and not any(graph.source(name) in graph.parameters for name in others)
    )


def _unfold(graph: Graph, name: str) -> None:
    value = graph.constants.pop(name)
    graph.shared.add(name)
    graph.shapes[name], graph.dtypes[name] = value.shape, value.dtype


def _has_copies(g: Emitter, node: Node, index: int) -> bool:
    """Tell whether an operand is copied for every sample: if computed, or a constant that the rule does not reduce."""
    name = node.inputs[index]
    if not name or not np.issubdtype(_dtype(g.graph, name), np.floating):
        return False
    if g.value(name) is None:
        return True
    if node.operator == "MatMul":
        return name != weight_operand(g.graph, node)
    first = index == 0 and registry.copies(node.operator) in ("entrywise", "axis", "axes")
    return first or node.operator == "Concat"


def _moved(g: Emitter, node: Node) -> Node:
    """Return the node with every axis that it names greater by one."""
    rank = len(g.shape(node.inputs[0]))
    if registry.copies(node.operator) == "axis":
        default = 0 if node.operator == "Gather" else -1
        axis = int(node.attribute("axis", default)) % rank + 1
        return replace(node, attributes={**node.attributes, "axis": axis})
    if node.operator == "Transpose":
        order = node.attribute("perm") or list(range(rank))[::-1]
        return replace(node, attributes={**node.attributes, "perm": [0, *(axis + 1 for axis in order)]})
    position = {"Slice": 3, "Pad": 3}.get(node.operator, 1)
    named = g.constant_operand(node, position)
    if named is None or not named.size:
        if node.operator.startswith("Reduce") and node.attribute("noop_with_empty_axes", 0):
            return node
        count = len(g.constant_operand(node, 1)) if node.operator == "Slice" else rank
        named = np.arange(count)
    axes: Array = named.reshape(-1) % rank + 1
    operands: list[Any] = [*node.inputs, *[""] * (position + 1 - len(node.inputs))]
    operands[position] = g.constant(axes)
    return replace(node, inputs=tuple(operands))
