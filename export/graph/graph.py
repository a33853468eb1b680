"""A graph as operator rules see it: nodes in order, constants as arrays, every size fixed but the batch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.graph.attributes import attributes_of
from export.graph.branches import branches
from export.graph.errors import SamplesInTheWay, UnsupportedGraph

OPSET = 20
IR_VERSION = 10
STANDARD = ("", "ai.onnx")
"""The two names of the domain of ONNX's own operators."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """An axis of `before · N · after` entries, N the free number of samples, N running between them.

    [N, 8, 3] reshaped to [8N, 3] has an axis `Batch(1, 8)`; [5, N, 3] reshaped to [5N, 3] has
    `Batch(5, 1)`: in memory the samples lie in the same place as before the reshape.
    """

    before: int = 1
    after: int = 1


Dimension = int | Batch
Shape = tuple[Dimension, ...]
N = Batch()
UNKNOWN = Batch(0, 0)
"""An axis of an output whose size a run decides."""


def batch_axis(shape: Shape) -> int | None:
    """Return the position of the axis that holds the samples, None where no axis does."""
    return next((axis for axis, dimension in enumerate(shape) if isinstance(dimension, Batch)), None)


def static(shape: Sequence[Dimension]) -> tuple[int, ...]:
    """Return `shape` as integers; SamplesInTheWay where the batch is among them."""
    sizes = tuple(dimension for dimension in shape if isinstance(dimension, int))
    if len(sizes) != len(shape):
        raise SamplesInTheWay(f"{tuple(shape)} is not static")
    return sizes


def keep_clear_of_samples(shape: Shape, axes: Iterable[int]) -> None:
    """Raise SamplesInTheWay where one of `axes`, along which an operator works, holds the samples."""
    static([shape[axis] for axis in axes])


def per_sample_size(shape: Shape) -> int:
    """Return how many numbers each sample has in a tensor of this shape."""
    return math.prod(d.before * d.after if isinstance(d, Batch) else d for d in shape)


@dataclass(frozen=True)
class Node:
    """One operator of the default domain; `attributes` hold plain Python values or TensorProto."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the attribute's value; where it is absent, ONNX's default for it, which the caller states."""
        return self.attributes.get(name, default)

    def input(self, index: int) -> str | None:
        """Return the name of an input, None where an optional one is absent."""
        return (self.inputs[index] or None) if index < len(self.inputs) else None

    def renamed(self, names: Mapping[str, str]) -> Node:
        """Return the node with other names for some tensors that it reads or gives."""
        return replace(
            self,
            inputs=tuple([names.get(name, name) for name in self.inputs]),
            outputs=tuple([names.get(name, name) for name in self.outputs]),
        )

    def to_proto(self) -> onnx.NodeProto:
        present = {name: value for name, value in self.attributes.items() if value is not None}
        return helper.make_node(self.operator, self.inputs, self.outputs, self.name, **present)


@dataclass(frozen=True)
class FoldedNorm:
    """A BatchNormalization that was folded into the convolution before it; arrays have one value per output channel.

    z = γ/σ·(y − μ) + β with y = W·x + b became z = W'·x + b'; `ratio` is γ/σ, so W' = ratio·W;
    `shift` names the constant b', and `bias` the convolution's own b where it had one.
    """

    shift: str
    ratio: Array
    inverse_sigma: Array
    mean_minus_bias: Array
    gamma: str
    beta: str
    bias: str | None
    bias_value: Array


@dataclass
class Graph:
    """Nodes in topological order and everything known about their tensors.

    - `parameters`: the model's float initializers, without those declared constant.
    - `excluded`: constants that are no layer's weight: those declared constant, and the engine's own.
    - `origin`: a constant → the initializer that it is a rearrangement of.
    - `folded`: a weight → the normalization that was folded into it.
    - `batch_linear`: an integer tensor → (slope, offset), where its value is slope·N + offset.
    - `derivation`: a folded constant → the node that computed it.
    - `shared`: tensors that are computed from constants alone, and so the same for all samples, but whose nodes
      were kept because trained constants are among those.
    """

    input: str
    output: str
    nodes: list[Node]
    constants: dict[str, Array]
    shapes: dict[str, Shape]
    dtypes: dict[str, np.dtype[Any]]
    parameters: set[str] = field(default_factory=set)
    origin: dict[str, str] = field(default_factory=dict)
    folded: dict[str, FoldedNorm] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    batch_linear: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    derivation: dict[str, Node] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of the image, the logits and all arithmetic between them."""
        return self.dtypes[self.input]

    def source(self, constant: str) -> str:
        """Return the initializer that a constant is a rearrangement of, or the constant itself."""
        return self.origin.get(constant, constant)

    def is_parameter(self, constant: str) -> bool:
        """Tell whether a constant counts as trained: a float initializer, not declared constant, holds its numbers."""
        return self.source(constant) in self.parameters

    def shape(self, name: str) -> Shape:
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def consumers(self) -> dict[str, list[Node]]:
        """Return a map from each tensor to the nodes that read it, in forward order."""
        readers: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return readers

    def producers(self) -> dict[str, Node]:
        return {output: node for node in self.nodes for output in node.outputs if output}


def live_nodes(nodes: Sequence[Node], wanted: Iterable[str]) -> list[Node]:
    """Return the nodes that `wanted` depends on, in their order."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(output for output in node.outputs if output):
            kept.append(node)
            needed.update(name for name in node.inputs if name)
    return kept[::-1]


def with_unique_names(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes with a name each, and no name twice; anonymous nodes are called after their operator."""
    taken: set[str] = {node.name for node in nodes if node.name}
    seen: Counter[str] = Counter()

    def unique(node: Node) -> Iterator[str]:
        yield node.name or f"{node.operator}_{seen[node.operator]}"
        while True:
            seen[node.name] += 1
            yield f"{node.name or node.operator}_{seen[node.name]}"

    named, used = [], set()
    for node in nodes:
        name = next(name for name in unique(node) if name not in used and (name == node.name or name not in taken))
        seen[node.operator] += not node.name
        used.add(name)
        named.append(replace(node, name=name))
    return named


def stored_tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers of a proto and the tensors of its Constant nodes, by name, without its branches'."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            found[node.output[0]] = value
    return found


def open_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs of a proto that are no stored weights, which early files list among them."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def standard_opset(model: onnx.ModelProto) -> int:
    """Return the opset of a model's standard operators, 0 where it names none."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in STANDARD), 0)


def nodes_of(graph: onnx.GraphProto) -> list[Node]:
    """Return the nodes of a proto with their attributes as Python values; UnsupportedGraph for foreign domains."""
    nodes = []
    for proto in graph.node:
        if proto.domain not in STANDARD:
            raise UnsupportedGraph(
                f"operator {proto.domain}::{proto.op_type} (node {proto.name!r}) is not standard ONNX; "
                "export the model with operators of the default domain only"
            )
        nodes.append(node_of(proto))
    return with_unique_names(nodes)


def node_of(proto: onnx.NodeProto) -> Node:
    """Return one node of a proto, attributes as Python values."""
    return Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes_of(proto), proto.name)


Stored = Callable[[Array, str], onnx.TensorProto]
"""Makes the tensor of a constant and its name; it may put the numbers elsewhere and leave a reference to them."""


def to_model(
    graph: Graph,
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    name: str,
    opset: int = OPSET,
    stored: Stored = numpy_helper.from_array,
) -> onnx.ModelProto:
    """Return a ModelProto of `nodes` with the constants that they and their branches read, made by `stored`.

    Known shapes are written too: ONNX Runtime keeps a tensor and its cotangent in one blocked layout only
    where it sees that both have the same batch.
    """
    produced = [output for node in nodes for output in node.outputs if output]
    proto = helper.make_graph(
        [node.to_proto() for node in nodes],
        name,
        [value_info(graph, key) for key in inputs],
        [value_info(graph, key) for key in outputs],
        value_info=[
            value_info(graph, key)
            for key in produced
            if key in graph.shapes and graph.dtypes[key] == graph.dtype and key not in outputs
        ],
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="contraflow",
    )
    # Last, because `make_graph` and `make_model` copy what they are given, and these are the weights.
    _store(model.graph, graph.constants, set(outputs), frozenset(), stored)
    return model


def _store(
    proto: onnx.GraphProto,
    constants: Mapping[str, Array],
    also: Collection[str],
    around: frozenset[str],
    stored: Stored,
) -> None:
    """Store in a graph what its own nodes read, and in each of its branches what only that reads.

    The runtime rearranges a convolution's weights only where they are stored in the same graph.
    """
    read = {name for node in proto.node for name in node.input}.union(also)
    own = [name for name in constants if name in read and name not in around]
    proto.initializer.extend(stored(np.asarray(constants[name], order="C"), name) for name in own)
    for branch in branches(proto):
        _store(branch, constants, (), around.union(own), stored)


def value_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    """Return what a proto says of a tensor whose type and shape are known."""
    # Only N itself is called N: the runtime takes axes of one name to have one size.
    sizes = [("N" if d == N else None) if isinstance(d, Batch) else d for d in graph.shape(name)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(graph.dtypes[name]), sizes)
