"""The two ends of a classifier as the engine has them: the input `input`, the one output `logits` [N, classes]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper

from export.graph.branches import branches_of, names_read
from export.graph.errors import UnsupportedGraph
from export.graph.graph import IR_VERSION, Batch, Graph, N
from export.graph.names import INPUT, LOGITS, original, renamed
from export.tracing.folding import emit_batch_arithmetic, fold


def settled(model: ModelProto, image_shape: Sequence[int], *, logits: bool) -> tuple[Graph, tuple[str, ...]]:
    """Return the folded graph of `model` with its ends as the engine has them, and notes.

    A final Softmax is left out, unless `logits` says that the output is logits whatever it ends in.
    `image_shape` is the input's, without the batch. Raises UnsupportedGraph where the output is no row of scores.
    """
    graph = fold(model, image_shape)
    output, notes = (graph.output, ()) if logits else _before_softmax(graph)
    if class_count(graph, output) < 2:
        raise UnsupportedGraph(f"the output {original(output)!r} is one score; two classes or more are needed")
    if not np.issubdtype(graph.dtypes[output], np.floating):
        raise UnsupportedGraph(f"the output is {graph.dtypes[output]}, not logits; choose the classifier's output")
    is_flat = len(graph.shape(output)) == 2
    if (graph.input, output, is_flat) != (INPUT, LOGITS, True):
        graph = fold(with_standard_ends(model, graph.input, output, is_flat=is_flat), image_shape)
    emit_batch_arithmetic(graph)
    return graph, notes


def class_count(graph: Graph, output: str) -> int:
    """Return the number of scores that each sample has in the tensor `output`: [N, classes], or with axes of 1.

    Raises UnsupportedGraph where the tensor has no such shape.
    """
    shape = graph.shape(output)
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if not shape or shape[0] != N or len(sizes) != len(shape) - 1 or sum(size != 1 for size in sizes) > 1:
        described = ["N" if isinstance(size, Batch) else size for size in shape]
        raise UnsupportedGraph(
            f"the output {original(output)!r} has shape {described}, not [N, classes]: no classifier"
        )
    return max(sizes, default=1)


def _before_softmax(graph: Graph) -> tuple[str, tuple[str, ...]]:
    """Return the tensor of logits where the last node is a Softmax over the classes, and a note if it is.

    One Softmax is taken off, not two: what it was applied to are the logits, be they probabilities.
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


def with_standard_ends(model: ModelProto, image: str, logits: str, *, is_flat: bool) -> ModelProto:
    """Return a copy whose input `image` is called `input`, and whose one output `logits` is the tensor `logits`.

    A tensor that is not flat, [N, classes, 1, 1], is flattened to [N, classes].
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if not is_flat:
        flat = renamed(LOGITS, taken)
        graph.node.append(helper.make_node("Flatten", [logits], [flat], "logits/flatten", axis=1))
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


def keep_only(model: ModelProto, output: str) -> ModelProto:
    """A copy with nothing that `output` does not depend on; initializers are no longer inputs."""
    graph = model.graph
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(name for name in node.output if name):
            nodes.append(node)
            needed.update(names_read([node]))
    weights = {tensor.name for tensor in graph.initializer}
    kept = ModelProto()
    kept.CopyFrom(_without_graph(model))
    kept.graph.name = graph.name or "classifier"
    kept.graph.node.extend(reversed(nodes))
    kept.graph.input.extend(value for value in graph.input if value.name in needed and value.name not in weights)
    kept.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in needed)
    known = next((value for value in (*graph.output, *graph.value_info) if value.name == output), None)
    kept.graph.output.append(known or helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return kept


def _without_graph(model: ModelProto) -> ModelProto:
    shell = ModelProto()
    for name in ("ir_version", "producer_name", "producer_version"):
        setattr(shell, name, getattr(model, name))
    shell.ir_version = max(shell.ir_version, IR_VERSION)  # older ones want initializers among the inputs
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell


def rename_tensors(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors other names, everywhere in `graph` and its branches at once."""
    for node in graph.node:
        for branch in branches_of(node):
            rename_tensors(branch, names)
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = names.get(name, name)
    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.name = names.get(entry.name, entry.name)
