"""The layers of a classifier: which weights are layers, in which order, and what follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.gradient.rules.registry import has_weight
from export.graph.graph import Batch, Graph, Node, Shape, static
from export.graph.names import shown
from service.contract.bundle_schema import Layer

PASSED_BY_RECTIFIER_SEARCH = {
    "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "Add", "Sum",
    "Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat",
}  # fmt: skip


@dataclass(frozen=True)
class WeightedLayer:
    """A layer's weight and the nodes that read it.

    Attributes:
        source: the initializer that the weight comes from.
        operand: the weight as its first node reads it.
        nodes: the nodes that read it, in forward order.
        depth: weighted layers on the longest path from the input, this one included.
        bias: the initializer that the bias comes from.
        rectifier: the first rectifier behind the layer.
    """

    source: str
    operand: str
    nodes: tuple[Node, ...]
    depth: int
    bias: str | None
    rectifier: Node | None

    @property
    def output(self) -> str:
        """The layer's own output at its first use."""
        return self.nodes[0].outputs[0]


def weighted_layers(graph: Graph) -> list[WeightedLayer]:
    """Find every constant of two or more axes that a Conv, ConvTranspose, Gemm or MatMul multiplies by."""
    users: dict[str, list[Node]] = {}
    operands: dict[str, str] = {}
    for node in graph.nodes:
        operand = weight_operand(graph, node)
        if operand is not None:
            source = graph.source(operand)
            users.setdefault(source, []).append(node)
            operands.setdefault(source, operand)
    depths = _depths(graph)
    consumers = graph.consumers()
    return [
        WeightedLayer(
            source=source,
            operand=operands[source],
            nodes=tuple(nodes),
            depth=depths[nodes[0].outputs[0]],
            bias=_bias(graph, nodes[0], consumers),
            rectifier=_rectifier(graph, nodes[0], consumers),
        )
        for source, nodes in users.items()
    ]


def weight_operand(graph: Graph, node: Node) -> str | None:
    """The operand of a node that is a layer's weight, None where it has none."""
    if not has_weight(node.operator):
        return None
    candidates = node.inputs[:2] if node.operator == "MatMul" else node.inputs[1:2]
    if all(name in graph.constants for name in node.inputs[:2]):
        candidates = node.inputs[1:2]  # the first is what the layer reads, the same for all samples
    for name in candidates:
        value = graph.constants.get(name)
        if value is not None and value.ndim >= 2 and graph.source(name) not in graph.excluded:
            return name
    return None


def describe(graph: Graph, layer: WeightedLayer) -> Layer:
    """The bundle's record of a layer; norm and shape are those of the original weight, before any folding."""
    weight = graph.constants[layer.source] if layer.source in graph.constants else graph.constants[layer.operand]
    original = weight.astype(np.float64)
    if layer.operand in graph.folded:
        ratio = graph.folded[layer.operand].ratio
        original = graph.constants[layer.operand] / ratio.reshape(-1, *[1] * (weight.ndim - 1))
    return Layer(
        name=shown(layer.source).removesuffix(".weight"),
        operator=layer.nodes[0].operator,
        depth=layer.depth,
        shape=weight.shape,
        output_shape=_without_batch(graph.shape(layer.output)),
        parameters=weight.size,
        uses=len(layer.nodes),
        bias=layer.bias is not None,
        weight_norm=finite_norm(original),
        rectifier=layer.rectifier.operator if layer.rectifier else None,
        channels=rectified_channels(graph, layer),
    )


def finite_norm(weight: NDArray[np.float64]) -> float | None:
    """Return ‖W‖₂; None where the weight has a NaN or an infinite number."""
    norm = float(np.sqrt(np.square(weight).sum()))
    return norm if math.isfinite(norm) else None


def rectified_channels(graph: Graph, layer: WeightedLayer) -> int:
    """The number of channels of a layer's rectifier, 0 where it has none."""
    if layer.rectifier is None:
        return 0
    shape = graph.shape(layer.rectifier.outputs[0])
    return static([shape[channel_axis_of(graph, layer)]])[0]


def channel_axis_of(graph: Graph, layer: WeightedLayer) -> int:
    """The axis of the output channels in a layer's output, behind its rectifier where it has one.

    Convolutions have the channels second, products where the weight's own axis comes out. Where the rectifier
    reads another number of axes than the layer gave, they are last for tokens [N, T, D] and second otherwise.
    """
    node = layer.nodes[0]
    rank = len(graph.shape(node.outputs[0]))
    met = len(graph.shape(layer.rectifier.outputs[0])) if layer.rectifier else rank
    if met != rank:
        return 2 if met == 3 else 1
    if node.operator != "MatMul":
        return 1
    return rank - 1 if node.inputs[1] == layer.operand else rank - 2


def _without_batch(shape: Shape) -> tuple[int, ...]:
    sizes: list[int] = []
    for size in shape:
        if not isinstance(size, Batch):
            sizes.append(size)
        elif size.before * size.after > 1:
            sizes.append(size.before * size.after)
    return tuple(sizes)


def _bias(graph: Graph, node: Node, consumers: Mapping[str, list[Node]]) -> str | None:
    """The source of the layer's bias: its own operand, or that of the Add right behind a product."""
    if weight_operand(graph, node) in graph.folded:
        return graph.folded[node.inputs[1]].bias
    own = node.input(2)
    if own is not None:
        value = graph.constants.get(own)
        trained = value is not None and (graph.is_parameter(own) or value.any())
        return graph.source(own) if trained and graph.source(own) not in graph.excluded else None
    behind = consumers.get(node.outputs[0], [])
    if node.operator in ("MatMul", "Gemm") and len(behind) == 1 and behind[0].operator == "Add":
        other = next(name for name in behind[0].inputs if name != node.outputs[0])
        if other in graph.constants and graph.is_parameter(other) and graph.constants[other].ndim == 1:
            return graph.source(other)
    return None


def _rectifier(graph: Graph, node: Node, consumers: Mapping[str, list[Node]]) -> Node | None:
    """The first rectifier that the layer's output reaches through normalizations and additions."""
    reached = {node.outputs[0]}
    for candidate in graph.nodes:
        if not reached.intersection(candidate.inputs):
            continue
        if is_rectifier(graph, candidate):
            return candidate
        # A residual block's last convolution meets its rectifier behind the addition.
        if candidate.operator in PASSED_BY_RECTIFIER_SEARCH:
            reached.update(candidate.outputs)
    return None


def is_rectifier(graph: Graph, node: Node) -> bool:
    """True for Relu, and for Clip from zero (ReLU6)."""
    if node.operator == "Clip":
        low = graph.constants.get(node.input(1) or "")
        return low is not None and float(low) == 0.0
    return node.operator == "Relu"


def _depths(graph: Graph) -> dict[str, int]:
    """Tensor → weighted layers on the longest path from the input to it."""
    depths: dict[str, int] = {graph.input: 0}
    for node in graph.nodes:
        deepest = max((depths.get(name, 0) for name in node.inputs), default=0)
        own = weight_operand(graph, node) is not None
        depths.update(dict.fromkeys(node.outputs, deepest + own))
    return depths
