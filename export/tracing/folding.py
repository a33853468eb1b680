"""Folding: a model with a free batch becomes a `Graph` with its constants folded and its shapes known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import ModelProto

from export.graph.emitter import Emitter
from export.graph.graph import Batch, Graph, Node, nodes_of
from export.tracing.rewriting.branching import taken_branch
from export.tracing.rewriting.fourier import as_product
from export.tracing.rewriting.loops import unrolled_loop
from export.tracing.rewriting.placing import as_gather
from export.tracing.rewriting.recurrence import unrolled
from export.tracing.rewriting.slicing import as_identity
from export.tracing.rewriting.transposing import as_transpose
from export.tracing.rewriting.vectors import with_matrices
from export.tracing.rewriting.windows import with_windows_inside
from export.tracing.walk import Walk

BATCHES = (2, 3)
WALK_REWRITES = (
    *(as_gather, as_identity, as_product, as_transpose, taken_branch),
    *(unrolled, unrolled_loop, with_matrices, with_windows_inside),
)


def fold(model: ModelProto, image_shape: Sequence[int]) -> Graph:
    """Return the model's graph; `image_shape` is the input's, without the batch.

    Raises UnsupportedGraph or UnsupportedOperator where a shape depends on more than the batch.
    """
    return Walk(model, image_shape, BATCHES, WALK_REWRITES).run(nodes_of(model.graph))


def emit_batch_arithmetic(graph: Graph) -> None:
    """Add nodes for integers that depend on the batch: -1 in `Reshape` targets, N·slope + offset elsewhere."""
    g = Emitter(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        found = {
            name: _target(g, node) if node.operator == "Reshape" and index == 1 else _linear(g, name)
            for index, name in enumerate(node.inputs)
            if name in graph.batch_linear
        }
        nodes += g.nodes
        g.nodes = []
        # ONNX forbids `allowzero` in a node whose target holds -1.
        attributes = {key: value for key, value in node.attributes.items() if key != "allowzero" or not found}
        nodes.append(replace(node, inputs=tuple(found.get(name, name) for name in node.inputs), attributes=attributes))
    graph.nodes = nodes


def _target(g: Emitter, node: Node) -> str:
    return g.ints([-1 if isinstance(size, Batch) else size for size in g.shape(node.outputs[0])])


def _linear(g: Emitter, name: str) -> str:
    slope, offset = g.graph.batch_linear[name]
    with g.scope("batch"):
        count = g.op("Shape", g.graph.input, start=0, end=1)
        batch = count if slope.ndim else g.op("Squeeze", count, g.ints([0]))
        found = g.add(g.mul(batch, g.constant(slope)), g.constant(offset))
    for emitted in g.nodes:
        for output in emitted.outputs:
            g.graph.dtypes[output], g.graph.shapes[output] = np.dtype(np.int64), ()
    return found
