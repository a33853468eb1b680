"""An image input with one more axis of size 1: a clip of one picture, or one bag of pictures."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from export.graph.branches import all_graphs, defined_names
from export.graph.edits import rename_tensors
from export.graph.graph import open_inputs, standard_opset
from export.graph.names import renamed

FIRST_WITH_AXES_AS_OPERAND = 13
IMAGE_AXES = 4


def without_unit_axis(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """Return `model` with an input of four axes where it has five of which one is 1, and a note that says so.

    The graph itself puts the axis back: what it answers stays the same.
    """
    inputs = open_inputs(model.graph)
    if len(inputs) != 1:
        return model, ()
    sizes = [dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim]
    axis = _extra_axis(sizes)
    if axis is None:
        return model, ()
    copy = ModelProto()
    copy.CopyFrom(model)
    name = inputs[0].name
    inner = renamed(name, {known for graph in all_graphs(copy.graph) for known in defined_names(graph)})
    rename_tensors(copy.graph, {name: inner})
    image = next(value for value in copy.graph.input if value.name == inner)
    image.name = name
    del image.type.tensor_type.shape.dim[axis]
    _put_first(copy.graph, _unsqueeze(copy, name, inner, axis))
    return copy, (f"axis {axis} of the file's input, of size 1, is put in by the graph",)


def _extra_axis(sizes: list[int]) -> int | None:
    """Return which of five axes to leave out; the first is the samples' unless the next one is open."""
    if len(sizes) != IMAGE_AXES + 1 or 1 not in sizes:
        return None
    if sizes[0] == 1 and sizes[1] <= 0:
        return 0
    return next((axis for axis, size in enumerate(sizes) if axis and size == 1), None)


def _unsqueeze(model: ModelProto, source: str, target: str, axis: int) -> NodeProto:
    label = f"{target}/Unsqueeze"
    if standard_opset(model) < FIRST_WITH_AXES_AS_OPERAND:
        return helper.make_node("Unsqueeze", [source], [target], label, axes=[axis])
    model.graph.initializer.append(numpy_helper.from_array(np.array([axis]), f"{target}/axis"))
    return helper.make_node("Unsqueeze", [source, f"{target}/axis"], [target], label)


def _put_first(graph: GraphProto, node: NodeProto) -> None:
    nodes = [node, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
