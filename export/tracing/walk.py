"""One walk over a model that folds its constants and finds every shape, static but the batch.

The walk runs at two numbers of samples side by side. What comes out equal at both is a constant or a
static size; where the samples lie is seen by what grows with them (`samples.py`); an integer that is
linear in the batch (a `Reshape` target of a traced export) is remembered as such. Nodes that no
operator rule could read are rewritten on the way (`rewrites`).
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
"""Operators whose result holds a constant's numbers as they are: a trained one stays trained."""
SUBGRAPHS = {"If", "Loop", "Scan", "SequenceMap"}

Rewrite = Callable[["Walk", Node], list[Node]]
"""Returns the nodes to walk in the place of one; none where it leaves the node alone."""


class Walk:
    """Builds `graph` node by node; `traces` know each tensor at the two numbers of samples.

    `stated` are the traces whose number of samples a constant of the file may state.
    """

    def __init__(
        self,
        model: ModelProto,
        image_shape: Sequence[int],
        batches: tuple[int, int],
        rewrites: Sequence[Rewrite],
    ) -> None:
        proto = model.graph
        self.traces = (Trace(batches[0]), Trace(batches[1]))
        self.stated: Sequence[Trace] = self.traces
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

    def run(self, nodes: Sequence[Node]) -> Graph:
        """Walk `nodes`, which are in order, and return the graph."""
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
        """Add a node whose outputs both traces know."""
        operands = self.computed_shapes(node)
        for output in filter(None, node.outputs):
            self._describe(output)
            self.graph.shapes[output] = ordered(node, self.graph.shapes[output], operands)
        self.graph.nodes.append(node)

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor, the batch among its sizes where it holds samples."""
        return self.graph.shapes.get(name, self.traces[0].shape(name))

    def computed_shapes(self, node: Node) -> list[Shape]:
        """Return the shapes of the node's operands that are no constants."""
        shapes, constants = self.graph.shapes, self.graph.constants
        return [shapes[name] for name in node.inputs if name in shapes and name not in constants]

    def _record(self, node: Node, low: Sequence[Array], high: Sequence[Array]) -> bool:
        """Remember the node's values; False where their shape depends on the batch, so that it must run.

        What is then taken of it for all samples alike (`positions[0]`) is a constant again.
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
        """Return slope and offset of an integer that is linear in the number of samples."""
        few, many = self._batches
        if np.issubdtype(low.dtype, np.integer):
            slope, rest = np.divmod(high.astype(np.int64) - low, many - few)
            if not rest.any():
                return slope, low - few * slope
        raise UnsupportedOperator(node.operator, node.name, "its value depends on the batch size", ADVICE)

    def _keep_origin(self, node: Node, name: str) -> None:
        """Note that a rearranged initializer stays the parameter it was."""
        source = node.inputs[0] if node.inputs else None
        if node.operator in REARRANGEMENTS and source is not None:
            origin = self.graph.source(source)
            same_size = origin in self.graph.parameters and (
                self.graph.constants[origin].size == self.graph.constants[name].size
            )
            if same_size:
                self.graph.origin[name] = origin

    def _describe(self, name: str) -> None:
        sizes = [trace.shape(name) for trace in self.traces]
        self.graph.shapes[name] = sized(name, sizes, self._batches)
        element = self.traces[0].types[name].tensor_type.elem_type
        self.graph.dtypes[name] = np.dtype(helper.tensor_dtype_to_np_dtype(element))
