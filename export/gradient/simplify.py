"""Rewrites of the forward graph before it is differentiated; each leaves its function unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.graph.emitter import Emitter
from export.graph.errors import UnsupportedGraph
from export.graph.graph import Array, Batch, FoldedNorm, Graph, N, Node, live_nodes, static
from export.graph.names import OWN

LARGEST_RATIO_SPREAD = 1e6


def strip_softmax(graph: Graph) -> list[str]:
    """Take the logits where the last node is a Softmax over the classes; a note if it was.

    One Softmax is taken off, not two: what it was applied to are the logits, be they probabilities.
    """
    producers = graph.producers()
    notes: list[str] = []
    node = producers.get(graph.output)
    while node is not None and node.operator in ("Softmax", "LogSoftmax", "Identity"):
        if node.operator != "Identity":
            rank = len(graph.shape(node.inputs[0]))
            axis = node.attribute("axis", -1) % rank
            if notes or any(size != 1 for size in graph.shape(node.inputs[0])[axis + 1 :]) or axis == 0:
                break
            notes.append(f"the final {node.operator} was removed: the loss is taken from the logits")
        graph.output = node.inputs[0]
        node = producers.get(graph.output)
    graph.nodes = live_nodes(graph.nodes, [graph.output])
    return notes


def flatten_logits(graph: Graph) -> None:
    """Make the output [N, classes] (some nets end in [N, classes, 1, 1])."""
    shape = graph.shape(graph.output)
    sizes = [size for size in shape[1:] if size != 1]
    if not shape or shape[0] != N or len(sizes) != 1 or len(static(sizes)) != 1:
        described = ["N" if isinstance(size, Batch) else size for size in shape]
        raise UnsupportedGraph(f"the output has shape {described}, not [N, classes]; choose the classifier's output")
    if not np.issubdtype(graph.dtypes[graph.output], np.floating):
        raise UnsupportedGraph(
            f"the output is {graph.dtypes[graph.output]}, not logits; choose the classifier's output"
        )
    if len(shape) == 2:
        return
    g = Emitter(graph)
    with g.scope("logits"):
        flat = g.reshape(graph.output, (N, *static(sizes)))
    graph.nodes += g.nodes
    graph.shapes[flat], graph.dtypes[flat] = (N, *sizes), graph.dtype
    graph.output = flat


def emit_batch_arithmetic(graph: Graph) -> None:
    """Rewrite integers that depend on the batch: `Reshape` targets with -1, the rest as N·slope + offset."""
    g = Emitter(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        renamed = {}
        for index, name in enumerate(node.inputs):
            if name not in graph.batch_linear:
                continue
            if node.operator == "Reshape" and index == 1:
                shape = graph.shape(node.outputs[0])
                renamed[name] = g.ints([-1 if isinstance(size, Batch) else size for size in shape])
            else:
                slope, offset = graph.batch_linear[name]
                with g.scope("batch"):
                    count = g.op("Shape", graph.input, start=0, end=1)
                    batch = count if slope.ndim else g.op("Squeeze", count, g.ints([0]))
                    renamed[name] = g.add(g.mul(batch, g.constant(slope)), g.constant(offset))
        nodes += g.nodes
        for emitted in g.nodes:
            for output in emitted.outputs:
                graph.dtypes[output] = np.dtype(np.int64)
                graph.shapes[output] = ()
        g.nodes = []
        attributes = {key: value for key, value in node.attributes.items() if key != "allowzero" or not renamed}
        nodes.append(
            replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs), attributes=attributes)
        )
    graph.nodes = nodes


def drop_identities(graph: Graph) -> None:
    """Remove nodes that pass their input on: Identity, Dropout in inference, a bias of untrained zeros."""
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


def fold_batch_norms(graph: Graph) -> list[str]:
    """Fold every BatchNormalization that directly follows a convolution of its own into it.

    The weight keeps its name; `graph.folded` remembers γ/σ, so that norms are reported for the
    original parameters. A γ of (nearly) zero has no way back and stays unfolded.
    """
    consumers, producers = graph.consumers(), graph.producers()
    folded: dict[str, Node] = {}
    removed: set[str] = set()
    for node in graph.nodes:
        conv = producers.get(node.inputs[0]) if node.operator == "BatchNormalization" else None
        if conv is None or conv.operator != "Conv" or len(consumers[conv.outputs[0]]) != 1:
            continue
        weight = conv.inputs[1]
        source = graph.source(weight) if weight in graph.constants else ""
        users = [n for n in graph.nodes if any(name and graph.source(name) == source for name in n.inputs)]
        norm = _folded_norm(graph, node, conv) if len(users) == 1 else None
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
    return ["BatchNormalization is folded; norms are of the original parameters"] if folded else []


def _folded_norm(graph: Graph, node: Node, conv: Node) -> FoldedNorm | None:
    operands = [*node.inputs[1:5], conv.inputs[1], *filter(None, [conv.input(2)])]
    if any(name not in graph.constants for name in operands):
        return None
    gamma, _, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:5])
    inverse_sigma = 1.0 / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    ratio = gamma * inverse_sigma
    if not np.isfinite(ratio).all() or np.abs(ratio).max() > LARGEST_RATIO_SPREAD * np.abs(ratio).min():
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


def rename_interface(graph: Graph, image: str, logits: str) -> None:
    """Call the graph's input and output by the names of the contract, which `distinct_names` keeps free."""
    names = {graph.input: image, graph.output: logits}
    graph.nodes = [
        replace(
            node,
            inputs=tuple(names.get(name, name) for name in node.inputs),
            outputs=tuple(names.get(name, name) for name in node.outputs),
        )
        for node in graph.nodes
    ]
    graph.shapes = {names.get(name, name): shape for name, shape in graph.shapes.items()}
    graph.dtypes = {names.get(name, name): dtype for name, dtype in graph.dtypes.items()}
    graph.input, graph.output = image, logits
