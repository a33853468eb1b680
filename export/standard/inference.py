"""Leaving training mode, and dropping the optional outputs that nobody reads.

Some files are exported in training mode: BatchNormalization then takes the statistics of its batch, so that
samples mix, and Dropout drops. Such a file holds the running statistics all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import ModelProto, NodeProto, TensorProto, defs, numpy_helper

from export.graph.branches import all_graphs, names_read
from export.graph.errors import UnsupportedOperator
from export.graph.graph import STANDARD, standard_opset, stored_tensors
from export.graph.names import OWN

FIRST_WITH_TRAINING_MODE = 14
"""First opset with an attribute for BatchNormalization's mode; earlier, the number of its outputs tells it."""
ADVICE = "call model.eval() before the export"


def in_inference(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """Return `model` in inference mode and without unused optional outputs, and a note if it was in training mode.

    Raises UnsupportedOperator where a node reads what only training computes.
    """
    if not any(_is_affected(node) for graph in all_graphs(model.graph) for node in graph.node):
        return model, ()
    copy = ModelProto()
    copy.CopyFrom(model)
    opset = standard_opset(copy)
    trained: list[str] = []
    for graph in all_graphs(copy.graph):
        read = {value.name for value in graph.output}.union(names_read(graph.node))
        constants = stored_tensors(graph)
        for node in graph.node:
            if node.domain not in STANDARD:
                continue
            if (leave := LEAVE_TRAINING.get(node.op_type)) is not None and leave(node, opset, read, constants):
                trained.append(node.op_type)
            _drop_unused_outputs(node, opset, read)
    if not trained:
        return copy, ()
    found = " and ".join(f"{trained.count(name)} {name}" for name in sorted(set(trained)))
    note = f"the file was exported in training mode ({found}); it is taken in inference mode, with running statistics"
    return copy, (note,)


def _is_affected(node: NodeProto) -> bool:
    return node.op_type in LEAVE_TRAINING or node.op_type == "MaxPool" or len(node.output) > 1


def _batch_normalization(node: NodeProto, opset: int, read: set[str], _: Mapping[str, TensorProto]) -> bool:
    """Make the node take the running statistics; return True where it took those of its batch."""
    mode = next((attribute for attribute in node.attribute if attribute.name == "training_mode"), None)
    named = [name for name in node.output[1:] if name]
    says_it = opset >= FIRST_WITH_TRAINING_MODE
    trains = mode is not None and mode.i == 1 if says_it else bool(named)
    if used := next((name for name in named if name in read), None):
        raise UnsupportedOperator(
            node.op_type, node.name or node.output[0], f"training mode: its statistics {used!r} are read", ADVICE
        )
    del node.output[1:]
    if mode is not None:
        node.attribute.remove(mode)
    return trains


def _dropout(node: NodeProto, opset: int, read: set[str], constants: Mapping[str, TensorProto]) -> bool:
    """Make the node drop nothing; return True where it was told to drop."""
    if len(node.input) < 3 or node.input[2] not in constants:
        return False
    trains = bool(numpy_helper.to_array(constants[node.input[2]]).any())
    del node.input[2:]
    return trains


LEAVE_TRAINING: dict[str, Callable[[NodeProto, int, set[str], Mapping[str, TensorProto]], bool]] = {
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
}


def _drop_unused_outputs(node: NodeProto, opset: int, read: set[str]) -> None:
    """Remove optional outputs at the end that nobody reads, and name the other outputs that have no name."""
    try:
        declared = defs.get_schema(node.op_type, opset, "").outputs
    except defs.SchemaError:
        declared = []
    optional = defs.OpSchema.FormalParameterOption.Optional
    while 1 < len(node.output) <= len(declared) and node.output[-1] not in read - {""}:
        if declared[len(node.output) - 1].option != optional:
            break
        del node.output[-1]
    if node.op_type == "MaxPool" and len(node.output) == 1:  # only the indices, now gone, show the order of positions
        order = [attribute for attribute in node.attribute if attribute.name == "storage_order"]
        for attribute in order:
            node.attribute.remove(attribute)
    stem = next((name for name in node.output if name), node.name)
    for index, name in enumerate(node.output):
        if not name and stem:
            node.output[index] = f"{stem}{OWN}unused_{index}"
