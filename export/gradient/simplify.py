"""Simplifications of the forward graph before it is differentiated; none changes its function."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from export.graph.graph import Array, FoldedNorm, Graph, Node, live_nodes
from export.graph.names import OWN

LARGEST_RATIO_SPREAD = 1e6


def drop_identities(graph: Graph) -> None:
    """Remove what changes nothing: Identity, Dropout in inference, a bias of untrained zeros."""
    alias: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs))
        if node.operator in ("Identity", "Dropout") and node.outputs[0] != graph.output:
            alias[node.outputs[0]] = node.inputs[0]
            continue
        bias = node.input(2) if node.operator == "Conv" else None
        if bias in graph.constants and not graph.is_parameter(bias) and not graph.constants[bias].any():
            node = replace(node, inputs=node.inputs[:2])
        nodes.append(node)
    graph.nodes = live_nodes(nodes, [graph.output])


def fold_batch_norms(graph: Graph) -> tuple[str, ...]:
    """Fold every BatchNormalization into the convolution before it, where nothing else reads that; return a note.

    The weight keeps its name. `graph.folded` records γ/σ, so that norms are reported for the original parameters.
    A normalization with a γ of (nearly) zero stays, because nothing could be divided by it. So does one whose
    parameters are read elsewhere too (exporters store equal ones once): their gradients are to be added up.
    """
    consumers, producers = graph.consumers(), graph.producers()
    reads = Counter(graph.source(name) for node in graph.nodes for name in node.inputs if name)
    folded: dict[str, Node] = {}
    removed: set[str] = set()
    for node in graph.nodes:
        conv = producers.get(node.inputs[0]) if node.operator == "BatchNormalization" else None
        if conv is None or conv.operator != "Conv" or len(consumers[conv.outputs[0]]) != 1:
            continue
        weight = conv.inputs[1]
        trained = [name for name in (*node.inputs[1:3], *conv.inputs[2:]) if name and graph.is_parameter(name)]
        read_once = all(reads[graph.source(name)] == 1 for name in (weight, *trained))
        norm = _folded_norm(graph, node, conv) if read_once else None
        if norm is None or node.attribute("training_mode", 0):
            continue
        original = graph.constants[weight]
        column = norm.ratio.reshape(-1, *[1] * (original.ndim - 1))
        graph.constants[weight] = (original * column).astype(original.dtype)
        beta = graph.constants[node.inputs[2]].astype(np.float64)
        graph.constants[norm.shift] = (beta - norm.mean_minus_bias * norm.ratio).astype(original.dtype)
        graph.folded[weight] = norm
        folded[conv.name] = replace(conv, inputs=(*conv.inputs[:2], norm.shift), outputs=node.outputs[:1])
        removed.add(node.name)
    graph.nodes = [folded.get(node.name, node) for node in graph.nodes if node.name not in removed]
    if not folded:
        return ()
    places = len(folded) + sum(node.operator == "BatchNormalization" for node in graph.nodes)
    return (f"BatchNormalization is folded in {len(folded)} of {places} places; norms are of the original parameters",)


def _folded_norm(graph: Graph, node: Node, conv: Node) -> FoldedNorm | None:
    operands = [*node.inputs[1:5], conv.inputs[1], *filter(None, [conv.input(2)])]
    if any(name not in graph.constants for name in operands):
        return None
    gamma, _, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:5])
    inverse_sigma = 1.0 / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    ratio = gamma * inverse_sigma
    least = np.abs(ratio).min()
    if not np.isfinite(ratio).all() or least == 0 or np.abs(ratio).max() > LARGEST_RATIO_SPREAD * least:
        return None
    bias = conv.input(2)
    bias_value: Array = graph.constants[bias].astype(np.float64) if bias else np.zeros_like(mean)
    return FoldedNorm(
        shift=_free_name(graph, f"{conv.inputs[1]}.folded_bias"),
        ratio=ratio,
        inverse_sigma=inverse_sigma,
        mean_minus_bias=mean - bias_value,
        gamma=graph.source(node.inputs[1]),
        beta=graph.source(node.inputs[2]),
        bias=graph.source(bias) if bias and graph.is_parameter(bias) else None,
        bias_value=bias_value,
    )


def _free_name(graph: Graph, name: str) -> str:
    return f"{name}{OWN}" if name in graph.constants or name in graph.shapes else name
