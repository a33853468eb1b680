"""One walk over a model that folds its constants and finds every shape, static but the batch.

The walk runs at two batch sizes side by side. What comes out equal at both is static; a size
that is m times the batch at both is a `Batch` axis; an integer that is linear in the batch (the
`Reshape` targets of traced exports) is rewritten as such, so no tracing residue survives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_node_outputs

from export.graph.branches import taken
from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import IR_VERSION, OPSET, Array, Batch, Graph, Node, Shape, batch_axis, nodes_of
from export.tracing.placing import placed

BATCHES = (2, 3)
LARGEST_DATA_FOR_INFERENCE = 4096
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
REARRANGEMENTS = {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Expand"}
SUBGRAPHS = {"If", "Loop", "Scan", "SequenceMap"}


class _Trace:
    """What is known about every tensor at one concrete batch size."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.values: dict[str, Array] = {}
        self.types: dict[str, onnx.TypeProto] = {}

    def know(self, name: str, value: Array) -> None:
        self.values[name] = value
        self.types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(d.dim_value for d in self.types[name].tensor_type.shape.dim)

    def evaluate(self, node: Node) -> list[Array] | None:
        """The node's values where all operands are known, None otherwise."""
        if node.operator == "Shape" and node.inputs[0] in self.types:
            start, end = node.attribute("start", 0), node.attribute("end")
            return [np.array(self.shape(node.inputs[0])[start:end], dtype=np.int64)]
        if node.operator == "Size" and node.inputs[0] in self.types:
            return [np.array(math.prod(self.shape(node.inputs[0])), dtype=np.int64)]
        if node.operator == "CastLike" and node.inputs[0] in self.values:
            target = self.types[node.inputs[1]].tensor_type.elem_type
            return [self.values[node.inputs[0]].astype(helper.tensor_dtype_to_np_dtype(target))]
        if node.operator in RANDOM or any(name and name not in self.values for name in node.inputs):
            return None
        return _run(node, {name: self.values[name] for name in node.inputs if name})

    def infer(self, node: Node) -> None:
        """Types of the outputs from the types (and small values) of the operands."""
        known = {
            name: numpy_helper.from_array(self.values[name], name)
            for name in node.inputs
            if name in self.values and self.values[name].size <= LARGEST_DATA_FOR_INFERENCE
        }
        try:
            inferred = infer_node_outputs(
                defs.get_schema(node.operator, OPSET),
                node.to_proto(),
                {name: self.types[name] for name in node.inputs if name},
                known,
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except Exception as error:
            raise UnsupportedOperator(
                node.operator, node.name, f"its output shape cannot be inferred ({_first_line(error)})", _FIX_SHAPES
            ) from error
        for name in node.outputs:
            if not name:
                continue
            tensor = inferred[name].tensor_type if name in inferred else None
            if (
                tensor is None
                or not tensor.HasField("shape")
                or any(not d.HasField("dim_value") for d in tensor.shape.dim)
            ):
                raise UnsupportedOperator(node.operator, node.name, "its output shape is not static", _FIX_SHAPES)
            self.types[name] = inferred[name]


_FIX_SHAPES = "fix the image size, and export without data-dependent shapes"


def fold(model: onnx.ModelProto, image_shape: Sequence[int]) -> Graph:
    """The model's graph with constants folded; `image_shape` is the input's, without the batch.

    Raises UnsupportedGraph or UnsupportedOperator where a shape depends on more than the batch.
    """
    proto = model.graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
    image = next(value for value in proto.input if value.name not in initializers)
    traces = tuple(_Trace(batch) for batch in BATCHES)
    for trace in traces:
        element = image.type.tensor_type.elem_type
        trace.types[image.name] = helper.make_tensor_type_proto(element, (trace.batch, *image_shape))
        for name, value in initializers.items():
            trace.know(name, value)

    graph = Graph(image.name, proto.output[0].name, [], dict(initializers), {}, {})
    graph.parameters = {name for name, value in initializers.items() if np.issubdtype(value.dtype, np.floating)}
    _describe(graph, traces, image.name)
    for node in nodes_of(proto):
        _walk(graph, traces, node)
    return graph


def _walk(graph: Graph, traces: Sequence[_Trace], node: Node) -> None:
    if any(name and name not in traces[0].types for name in node.inputs):
        missing = next(name for name in node.inputs if name and name not in traces[0].types)
        raise UnsupportedGraph(f"node {node.name!r} reads {missing!r}, which nothing produces")
    if parts := placed(node, traces) or _branch(node, traces):
        for part in parts:
            _walk(graph, traces, part)
        return
    results = [trace.evaluate(node) for trace in traces]
    if all(result is not None for result in results):
        if _record_constants(graph, traces, node, results):  # type: ignore[arg-type]
            return
    elif node.operator in SUBGRAPHS:
        raise UnsupportedOperator(
            node.operator, node.name, "its condition depends on the image", "export the model without control flow"
        )
    else:
        node = _with_windows_inside(node, traces[0])
        for trace in traces:
            trace.infer(node)
    for output in node.outputs:
        if output:
            _describe(graph, traces, output)
            graph.shapes[output] = _place_batch(graph, node, graph.shapes[output])
    graph.nodes.append(node)


def _with_windows_inside(node: Node, trace: _Trace) -> Node:
    """A pool without `ceil_mode` where that lets a window begin in the padding behind the image.

    The standard says in words that such a window does not exist, and kernels leave it out; shape
    inference, onnx's and ONNX Runtime's, counts it. Padding up to the last real window says the same
    in a way that nobody misreads; it is not counted unless `count_include_pad` asks for it.
    """
    pools = node.operator == "MaxPool" or (
        node.operator == "AveragePool" and not node.attribute("count_include_pad", 0)
    )
    if not pools or not node.attribute("ceil_mode", 0) or node.inputs[0] not in trace.types:
        return node
    sizes = trace.shape(node.inputs[0])[2:]
    ones = [1] * len(sizes)
    strides, pads = node.attribute("strides", ones), node.attribute("pads", [0] * 2 * len(sizes))
    begins, ends = list(pads[: len(sizes)]), list(pads[len(sizes) :])
    spans = [
        d * (k - 1) + 1 for d, k in zip(node.attribute("dilations", ones), node.attribute("kernel_shape"), strict=True)
    ]
    beyond = False
    for axis, (size, stride, span) in enumerate(zip(sizes, strides, spans, strict=True)):
        count = -(-(size + begins[axis] + ends[axis] - span) // stride) + 1
        outside = (count - 1) * stride >= size + begins[axis]
        beyond = beyond or outside
        last = (count - 1 - outside) * stride + span
        ends[axis] = max(0, last - size - begins[axis])
    if not beyond:
        return node
    return replace(node, attributes={**node.attributes, "ceil_mode": 0, "pads": [*begins, *ends]})


def _branch(node: Node, traces: Sequence[_Trace]) -> list[Node]:
    """What an `If` comes to whose condition the shapes decide; empty for any other node."""
    if node.operator != "If" or any(node.inputs[0] not in trace.values for trace in traces):
        return []
    conditions = {bool(trace.values[node.inputs[0]].all()) for trace in traces}
    if len(conditions) > 1:
        raise UnsupportedOperator(node.operator, node.name, "its condition depends on the batch size", _FIX_SHAPES)
    branch = node.attribute("then_branch" if conditions.pop() else "else_branch")
    parts = nodes_of(helper.make_graph(taken(branch, node.outputs, node.name), "branch", [], []))
    return [replace(part, name=f"{node.name}/{part.name}") for part in parts]


def _record_constants(graph: Graph, traces: Sequence[_Trace], node: Node, results: Sequence[Sequence[Array]]) -> bool:
    """Remember the node's values; False where their shape depends on the batch, so that it must run.

    What is then taken of it for all samples alike (`positions[0]`) is a constant again.
    """
    for trace, values in zip(traces, results, strict=True):
        for name, value in zip(node.outputs, values, strict=False):
            trace.know(name, value)
    if any(a.shape != b.shape for a, b in zip(*results, strict=True)):
        return False
    for name, low, high in zip(node.outputs, *results, strict=False):
        graph.dtypes[name] = low.dtype
        if np.array_equal(low, high, equal_nan=np.issubdtype(low.dtype, np.floating)):
            graph.constants[name] = low
            graph.derivation[name] = node
            _trace_origin(graph, node, name)
        elif np.issubdtype(low.dtype, np.integer):
            slope = (high.astype(np.int64) - low) // (BATCHES[1] - BATCHES[0])
            graph.batch_linear[name] = (slope, low - BATCHES[0] * slope)
        else:
            raise UnsupportedOperator(node.operator, node.name, "its value depends on the batch size", _FIX_SHAPES)
    return True


def _trace_origin(graph: Graph, node: Node, name: str) -> None:
    """A rearranged initializer stays the parameter it was."""
    source = node.inputs[0] if node.inputs else None
    if node.operator in REARRANGEMENTS and source is not None:
        origin = graph.origin.get(source, source)
        if origin in graph.parameters and graph.constants[origin].size == graph.constants[name].size:
            graph.origin[name] = origin


def _describe(graph: Graph, traces: Sequence[_Trace], name: str) -> None:
    low, high = (trace.shape(name) for trace in traces)
    if len(low) != len(high):
        raise UnsupportedGraph(f"the rank of {name!r} depends on the batch size")
    graph.shapes[name] = tuple(_dimension(name, a, b) for a, b in zip(low, high, strict=True))
    graph.dtypes[name] = np.dtype(helper.tensor_dtype_to_np_dtype(traces[0].types[name].tensor_type.elem_type))
    if sum(isinstance(d, Batch) for d in graph.shapes[name]) > 1:
        raise UnsupportedGraph(f"the batch appears in two axes of {name!r}: samples would mix")


def _dimension(name: str, low: int, high: int) -> int | Batch:
    if low == high:
        return low
    if low * BATCHES[1] == high * BATCHES[0] and low % BATCHES[0] == 0:
        return Batch(1, low // BATCHES[0])
    raise UnsupportedGraph(f"an axis of {name!r} has {low} entries for {BATCHES[0]} samples, {high} for {BATCHES[1]}")


def _place_batch(graph: Graph, node: Node, shape: Shape) -> Shape:
    """Say where in its axis the batch runs: `Reshape` moves it by the sizes before and after."""
    axis = batch_axis(shape)
    sources = [graph.shapes[name] for name in node.inputs if name in graph.shapes and name not in graph.constants]
    source = next((s for s in sources if batch_axis(s) is not None), None)
    if axis is None or source is None:
        return shape
    found = shape[axis]
    origin = source[batch_axis(source) or 0]
    assert isinstance(found, Batch)
    assert isinstance(origin, Batch)
    for other in (d for s in sources for d in s if isinstance(d, Batch)):
        if other != origin and other.before * other.after == origin.before * origin.after:
            raise UnsupportedOperator(
                node.operator, node.name, "the samples lie otherwise in one operand than in another: they would mix",
                "merge the samples with other axes in one order",
            )  # fmt: skip
    if node.operator in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        before = _product(source[: batch_axis(source)]) * origin.before
        ahead = _product(shape[:axis])
        if before % ahead or (found.after % (before // ahead)):
            raise UnsupportedOperator(node.operator, node.name, "it splits the batch across axes", _FIX_SHAPES)
        place = Batch(before // ahead, found.after * ahead // before)
    elif found.after == origin.before * origin.after:
        place = origin
    elif found.after == 1:
        place = found
    else:
        raise UnsupportedOperator(node.operator, node.name, "it mixes samples along one axis", _FIX_SHAPES)
    return (*shape[:axis], place, *shape[axis + 1 :])


def _product(shape: Shape) -> int:
    return math.prod(d for d in shape if isinstance(d, int))


def _run(node: Node, operands: Mapping[str, Array]) -> list[Array]:
    """Evaluate one node by onnx's reference implementation."""
    if node.operator == "Constant":
        return [_constant(node)]
    outputs = [name for name in node.outputs if name]
    proto = helper.make_graph(
        [node.to_proto()],
        "constant",
        [_typed(name, value) for name, value in operands.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        values = dict(zip(outputs, ReferenceEvaluator(model).run(None, dict(operands)), strict=True))
    except Exception as error:
        raise UnsupportedOperator(
            node.operator, node.name, f"its constant value cannot be computed ({_first_line(error)})", _FIX_SHAPES
        ) from error
    return [np.asarray(values[name]) for name in outputs]


def _typed(name: str, value: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _constant(node: Node) -> Array:
    kind, value = next(iter(node.attributes.items()))
    if kind == "value":
        return numpy_helper.to_array(value)
    if kind in ("value_float", "value_floats"):
        return np.array(value, dtype=np.float32)
    if kind in ("value_int", "value_ints"):
        return np.array(value, dtype=np.int64)
    raise UnsupportedOperator("Constant", node.name, f"attribute {kind} is not supported", "use a dense tensor")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def dtype_of(value: Any) -> np.dtype[Any]:
    """The numpy type of a ValueInfoProto's elements."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
