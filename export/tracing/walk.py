"""One walk over a model's nodes that folds constants and finds every shape.

The walk traces the model at two numbers of samples side by side. What is equal at both is a constant or a
static size. An axis that grows with them holds the samples (`samples.py`). An integer that is linear in the
batch, such as a `Reshape` target of a traced export, is recorded as slope and offset. Nodes that no operator
rule could read are rewritten on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import Array, Graph, Node, Shape
from export.tracing.evaluation import ADVICE
from export.tracing.samples import ordered, sized
from export.tracing.trace import Trace

REARRANGEMENTS = {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Expand"}
"""Operators that keep the numbers of a constant: the result of a trained one counts as trained too."""
COPIES = {"Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Unsqueeze"}
"""Operators by which each sample may get a copy of a constant."""
SUBGRAPHS = {"If", "Loop", "Scan", "SequenceMap"}

Rewrite = Callable[["Walk", Node], list[Node]]
"""Returns the nodes that take the place of one, or none where it leaves the node as it is."""


class Walk:
    """Builds `graph` node by node from `traces`, one for each of the two numbers of samples."""

    def __init__(
        self,
        model: ModelProto,
        image_shape: Sequence[int],
        batches: tuple[int, int],
        rewrites: Sequence[Rewrite],
    ) -> None:
        proto = model.graph
        self.traces = (Trace(batches[0]), Trace(batches[1]))
        self._batches = batches
        self._rewrites = rewrites
        initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
        image = next(value for value in proto.input if value.name not in initializers)
        for trace in self.traces:
            element = image.type.tensor_type.elem_type
            trace.types[image.name] = helper.make_tensor_type_proto(element, (trace.batch, *image_shape))
            for name, value in initializers.items():
                trace.know(name, value)
        self.graph = Graph(image.name, proto.output[0].name, [], dict(initializers), {}, {})
        self.graph.parameters = {name for name, v in initializers.items() if np.issubdtype(v.dtype, np.floating)}
        self._describe(image.name)

    @property
    def stated(self) -> Sequence[Trace]:
        """Traces whose number of samples the model's own constants may contain; both, where the batch is free."""
        return self.traces

    def run(self, nodes: Sequence[Node]) -> Graph:
        """Walk over `nodes`, which are in topological order, and return the graph.

        Raises UnsupportedGraph or UnsupportedOperator where a shape depends on more than the batch.
        """
        for node in nodes:
            self._walk(node)
        return self.graph

    def _walk(self, node: Node) -> None:
        for name in node.inputs:
            if name and name not in self.traces[0].types:
                raise UnsupportedGraph(f"node {node.name!r} reads {name!r}, which nothing produces")
        for rewrite in self._rewrites:
            if parts := rewrite(self, node):
                self.run(parts)
                return
        low, high = (trace.evaluate(node) for trace in self.traces)
        if low is not None and high is not None:
            if self._record(node, low, high):
                return
        elif node.operator in SUBGRAPHS:
            raise UnsupportedOperator(
                node.operator, node.name, "its condition depends on the image", "export the model without control flow"
            )
        else:
            for trace in self.traces:
                trace.infer(node)
        self._append(node)

    def _append(self, node: Node) -> None:
        """Add a node to the graph; both traces know its outputs."""
        operands = self.computed_shapes(node)
        for output in filter(None, node.outputs):
            self._describe(output)
            self.graph.shapes[output] = ordered(node, self.graph.shapes[output], operands)
        self.graph.nodes.append(node)

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor, with a `Batch` for the axis of the samples."""
        return self.graph.shapes.get(name, self.traces[0].shape(name))

    def computed_shapes(self, node: Node) -> list[Shape]:
        """Return the shapes of those operands that are not constant."""
        shapes, constants = self.graph.shapes, self.graph.constants
        return [shapes[name] for name in node.inputs if name in shapes and name not in constants]

    def _record(self, node: Node, low: Sequence[Array], high: Sequence[Array]) -> bool:
        """Record the node's values; return False where their shape depends on the batch and the node must stay.

        Both traces know the values even then: what a later node takes from them for all samples alike, such as
        `positions[0]`, is a constant again.
        """
        outputs = [name for name in node.outputs if name]
        for trace, values in zip(self.traces, (low, high), strict=True):
            for name, value in zip(outputs, values, strict=True):
                trace.know(name, value)
        if any(a.shape != b.shape for a, b in zip(low, high, strict=True)):
            return False
        for name, a, b in zip(outputs, low, high, strict=True):
            self.graph.dtypes[name] = a.dtype
            if np.array_equal(a, b, equal_nan=np.issubdtype(a.dtype, np.floating)):
                self.graph.constants[name] = a
                self.graph.derivation[name] = node
                self._keep_origin(node, name)
            else:
                self.graph.batch_linear[name] = self._linear(node, a, b)
        return True

    def _linear(self, node: Node, low: Array, high: Array) -> tuple[Array, Array]:
        """Return slope and offset of an integer tensor that is linear in the batch."""
        few, many = self._batches
        if np.issubdtype(low.dtype, np.integer):
            slope, rest = np.divmod(high.astype(np.int64) - low, many - few)
            if not rest.any():
                return slope, low - few * slope
        raise UnsupportedOperator(node.operator, node.name, "its value depends on the batch size", ADVICE)

    def _keep_origin(self, node: Node, name: str) -> None:
        """Record the initializer that a constant is a rearrangement of, so that it still counts as trained."""
        source = node.inputs[0] if node.inputs else None
        if source is not None and source not in self.graph.constants:
            copied = self._copied(source)
            constants = self.graph.constants
            if copied is not None and np.array_equal(constants[copied].ravel(), constants[name].ravel()):
                self.graph.origin[name] = self.graph.source(copied)
        elif node.operator in REARRANGEMENTS and source is not None:
            origin = self.graph.source(source)
            same_size = origin in self.graph.parameters and (
                self.graph.constants[origin].size == self.graph.constants[name].size
            )
            if same_size:
                self.graph.origin[name] = origin

    def _copied(self, name: str) -> str | None:
        """Return the constant that a tensor holds once for every sample, None where it holds more or other numbers."""
        producers = {output: node for node in self.graph.nodes for output in node.outputs}
        while name not in self.graph.constants:
            node = producers.get(name)
            if node is None or node.operator not in COPIES:
                return None
            name = node.inputs[0]
        return name

    def _describe(self, name: str) -> None:
        sizes = [trace.shape(name) for trace in self.traces]
        self.graph.shapes[name] = sized(name, sizes, self._batches)
        element = self.traces[0].types[name].tensor_type.elem_type
        self.graph.dtypes[name] = np.dtype(helper.tensor_dtype_to_np_dtype(element))
