"""The opset that a finished graph is labelled with: the oldest one at which it means the same.

ONNX Runtime's CUDA kernels are registered up to some version of an operator, and a newer schema of
it (Pad and Equal of opset 19, ConstantOfShape of 20) falls back to the CPU although nothing of it
that we use has changed. So a graph is labelled opset 18 unless a node means something that opset 18 lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from onnx import defs

from export.graph.emitter import Emitter
from export.graph.graph import OPSET, Graph, Node
from export.graph.names import OWN

RUNTIME_OPSET = 18
NEWER_VALUES = {
    ("Pad", "mode", "wrap"),
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"),
    ("GridSample", "mode", "linear"),
}


def lower(graph: Graph, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes with every Gelu, which opset 18 lacks, written out; the runtime fuses it again."""
    g = Emitter(graph)
    return [part for node in nodes for part in (_gelu(g, node) if node.operator == "Gelu" else [node])]


def opset_of(nodes: Sequence[Node]) -> int:
    """Return 18 where all nodes mean the same there as at our own opset, else our own."""
    return RUNTIME_OPSET if all(_means_the_same(node) for node in nodes) else OPSET


def _means_the_same(node: Node) -> bool:
    try:
        known = _older_attributes(node.operator)
    except defs.SchemaError:
        return False
    if known is None:
        return True
    given = {name: value for name, value in node.attributes.items() if value is not None}
    return set(given) <= known and not any(
        (node.operator, name, value) in NEWER_VALUES for name, value in given.items() if isinstance(value, str)
    )


@cache
def _older_attributes(operator: str) -> frozenset[str] | None:
    """Return the attributes that an operator has at opset 18, None where it has not changed since.

    Raises SchemaError where opset 18 lacks it.
    """
    newest, older = (defs.get_schema(operator, version) for version in (OPSET, RUNTIME_OPSET))
    return None if newest.since_version == older.since_version else frozenset(older.attributes)


def _gelu(g: Emitter, node: Node) -> list[Node]:
    """Write out x·½·(1 + erf(x/√2)), or its approximation ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    nodes: list[Node] = []

    def step(operator: str, *inputs: str) -> str:
        name = f"{node.name}{OWN}{operator}_{len(nodes)}"
        nodes.append(Node(operator, inputs, (name,), {}, name))
        return name

    x = node.inputs[0]
    if node.attribute("approximate", "none") == "tanh":
        cube = step("Mul", x, step("Mul", x, x))
        inner = step("Add", x, step("Mul", cube, g.scalar(0.044715)))
        bent = step("Tanh", step("Mul", inner, g.scalar(math.sqrt(2.0 / math.pi))))
    else:
        bent = step("Erf", step("Div", x, g.scalar(math.sqrt(2.0))))
    step("Mul", step("Mul", x, step("Add", bent, g.scalar(1.0))), g.scalar(0.5))
    nodes[-1] = replace(nodes[-1], outputs=node.outputs)
    return nodes
