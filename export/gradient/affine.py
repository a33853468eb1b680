"""Batch normalizations that are folded into no layer, written as what they compute in inference: a·x + c."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.gradient.prepare import Prepared, walked_back
from export.graph.graph import Graph, Node
from export.graph.names import OWN


def with_affine_norms(prepared: Prepared) -> Prepared:
    """Return the classifier with a = γ/σ and c = β − μ·a in place of what a normalization was trained to.

    The statistics are trained numbers without a gradient. As part of a and c they have one. `prepared` itself where
    there is no such normalization.
    """
    known = prepared.graph
    if not any(_is_constant(known, node) for node in known.nodes):
        return prepared
    graph = replace(
        known,
        nodes=[],
        constants=dict(known.constants),
        shapes=dict(known.shapes),
        dtypes=dict(known.dtypes),
        parameters=set(known.parameters),
        origin=dict(known.origin),
        shared=set(known.shared),
    )
    for node in known.nodes:
        graph.nodes += _affine(graph, node) if _is_constant(known, node) else [node]
    emitted, gradients = walked_back(graph, prepared.label_kind)
    return replace(prepared, graph=graph, emitted=emitted, gradients=gradients)


def _is_constant(graph: Graph, node: Node) -> bool:
    return node.operator == "BatchNormalization" and all(name in graph.constants for name in node.inputs[1:5])


def _affine(graph: Graph, node: Node) -> list[Node]:
    x, y = node.inputs[0], node.outputs[0]
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:5])
    scale = gamma / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    column = (-1, *[1] * (len(graph.shape(x)) - 2))
    scaled = f"{node.name}{OWN}scaled"
    graph.shapes[scaled], graph.dtypes[scaled] = graph.shape(y), graph.dtype
    if y in graph.shared:
        graph.shared.add(scaled)
    owner = next((graph.source(name) for name in node.inputs[1:3] if graph.is_parameter(name)), None)
    names = f"{node.name}{OWN}a", f"{node.name}{OWN}c"
    for name, value in zip(names, (scale, beta - mean * scale), strict=True):
        graph.constants[name] = value.astype(graph.dtype).reshape(column)
        if owner is None:
            graph.parameters.add(name)
        else:
            graph.origin[name] = owner
    return [
        Node("Mul", (x, names[0]), (scaled,), {}, scaled),
        Node("Add", (scaled, names[1]), (y,), {}, node.name),
    ]
