"""The two ends of a classifier in plain form: the input `input` and the one output `logits` [N, classes]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, helper

from export.graph.edits import rename_tensors
from export.graph.errors import UnsupportedGraph
from export.graph.graph import Batch, Graph, N, Shape, batch_axis
from export.graph.names import INPUT, LOGITS, original, renamed
from export.tracing.folding import emit_batch_arithmetic, fold


def settled(model: ModelProto, image_shape: Sequence[int], *, logits: bool) -> tuple[Graph, tuple[str, ...]]:
    """Fold `model` and settle its ends; return the graph, and notes for whoever reads its norms.

    A final Softmax is left out, unless `logits` says that the output is logits whatever it ends in.
    `image_shape` is the input's shape without the batch. Raises UnsupportedGraph where the output is not one row of
    scores per sample.
    """
    graph = fold(model, image_shape)
    output, notes = (graph.output, ()) if logits else _before_softmax(graph)
    if class_count(graph, output) < 2:
        raise UnsupportedGraph(f"the output {original(output)!r} is one score; two classes or more are needed")
    if not np.issubdtype(graph.dtypes[output], np.floating):
        raise UnsupportedGraph(f"the output is {graph.dtypes[output]}, not logits; choose the classifier's output")
    lead = leading_axes(graph.shape(output))
    if (graph.input, output, lead) != (INPUT, LOGITS, None):
        graph = fold(with_standard_ends(model, graph.input, output, lead), image_shape)
    emit_batch_arithmetic(graph)
    return graph, notes


def class_count(graph: Graph, output: str) -> int:
    """Return the number of scores per sample in `output`, of shape [N, classes] with any axes of 1 before or between.

    Raises UnsupportedGraph where the tensor has another shape.
    """
    shape = graph.shape(output)
    lead = batch_axis(shape) or 0
    sizes = [size for size in shape[lead + 1 :] if isinstance(size, int)]
    if not shape or shape[: lead + 1] != (*[1] * lead, N) or sum(size != 1 for size in sizes) > 1:
        described = ["N" if isinstance(size, Batch) else size for size in shape]
        raise UnsupportedGraph(
            f"the output {original(output)!r} has shape {described}, not [N, classes]: no classifier"
        )
    return max(sizes, default=1)


def leading_axes(shape: Shape) -> int | None:
    """Return how many axes of a tensor of scores come before the classes, None where it is [N, classes] already."""
    return None if len(shape) == 2 and shape[0] == N else (batch_axis(shape) or 0) + 1


def _before_softmax(graph: Graph) -> tuple[str, tuple[str, ...]]:
    """Return the tensor of logits, which is not the graph's output where that is a Softmax, and a note if it is not.

    Only one Softmax is left out: what it was applied to are the logits, even if they are probabilities.
    """
    producers = graph.producers()
    output, notes = graph.output, list[str]()
    while (node := producers.get(output)) is not None and node.operator in ("Softmax", "LogSoftmax", "Identity"):
        if node.operator != "Identity":
            shape = graph.shape(node.inputs[0])
            axis = node.attribute("axis", -1) % len(shape)
            if notes or any(size != 1 for size in shape[axis + 1 :]) or axis == 0:
                break
            notes.append(f"the final {node.operator} was removed: the loss is taken from the logits")
        output = node.inputs[0]
    return output, tuple(notes)


def with_standard_ends(model: ModelProto, image: str, logits: str, lead: int | None) -> ModelProto:
    """Return a copy whose input `image` is called `input` and whose tensor `logits` is the one output, `logits`.

    Where that tensor is not flat, such as [N, classes, 1, 1], it is flattened behind its `lead` first axes.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if lead is not None:
        flat = renamed(LOGITS, taken)
        graph.node.append(helper.make_node("Flatten", [logits], [flat], "logits/flatten", axis=lead))
        taken.add(flat)
        logits = flat
    names = {image: INPUT, logits: LOGITS}
    for name in (INPUT, LOGITS):
        if name in taken and name not in names:
            names[name] = renamed(name, taken)
    rename_tensors(graph, names)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOGITS, graph.input[0].type.tensor_type.elem_type, ["N", None]))
    return copy
