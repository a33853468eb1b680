"""The weights of a graph: made initializers, called by names that a reader knows, and told from other constants.

Some files make their weights by `ConstantOfShape`, hold them in `Constant` nodes, or pass them through `Identity`.
Exporters that fold or transpose a weight give it a number for a name, and tf2onnx the name of an operator's output.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from export.graph.attributes import attribute_of
from export.graph.branches import all_graphs, names_read
from export.graph.edits import rename_tensors
from export.graph.graph import Array, node_of
from export.tracing.evaluation import evaluate, stored_value

WEIGHT_OPERANDS = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "FusedConv": 1, "FusedGemm": 1, "FusedMatMul": 1,
}  # fmt: skip
BIAS_OPERANDS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "FusedConv": 2, "FusedGemm": 2}
ADDING = {"Add", "BiasGelu"}
"""Operators that add a layer's bias behind its product."""
TRAINED_OPERANDS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
TRAINED_WHEN_SEVERAL = {
    "Add", "Sub", "Mul", "Div", "Sum", "Concat", "Expand", "Gather", "Unsqueeze", "Reshape", "Transpose", "Einsum",
    "Squeeze", "Slice", "Split", "Tile",
}  # fmt: skip
ANONYMOUS = re.compile(
    r"(^(val|const|tensor|onnx::\w+?|.*_output)_?\d+$)|(^\d+$)|::|(_output_\d+$)|(:\d+$)|(^const_fold_opt_)"
)
NORMALIZATIONS = {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"}
MASKED = -50.0
"""Attention scores at or below this do not count in a softmax: a constant of 0 and such values is a mask."""
FIXED = "written out by the exporter"
"""Doc string that marks an initializer which was a Constant node in a file whose weights are initializers."""


def weights_as_initializers(model: ModelProto) -> ModelProto:
    """Return a copy in which Constant, ConstantOfShape and Identity of constants are initializers.

    torch's exporters store parameters as initializers, and write as Constant nodes what the code itself states: a
    fixed filter, positions, the ones and zeros of a normalization without parameters. Those are marked (`FIXED`).
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    apart = model.producer_name == "pytorch" and any(weight in values for weight in _weights(graph.node))
    aliases: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = aliases.get(name, name)
        if node.op_type == "Identity" and node.input[0] in values:
            aliases[node.output[0]] = node.input[0]
        elif (value := _made_by(node, values)) is not None:
            values[node.output[0]] = numpy_helper.from_array(value, node.output[0])
            if apart and node.op_type == "Constant":
                values[node.output[0]].doc_string = FIXED
        else:
            kept.append(node)
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(kept)
    rename_tensors(graph, aliases)  # branches read them too
    read = {value.name for value in graph.output}.union(names_read(graph.node))
    graph.initializer.extend(tensor for name, tensor in values.items() if name in read)
    return copy


def _made_by(node: NodeProto, values: dict[str, TensorProto]) -> Array | None:
    if node.op_type == "Constant":
        return stored_value(node_of(node))
    if node.op_type == "ConstantOfShape" and node.input[0] in values:
        return evaluate(node_of(node), {node.input[0]: numpy_helper.to_array(values[node.input[0]])})[0]
    return None


def untrained(model: ModelProto) -> tuple[str, ...]:
    """Return the float initializers that are no parameters: statistics, scalars, bounds, masks, fixed filters.

    A trained tensor is an operand of a layer or a normalization, or an array of several numbers that is added,
    multiplied, concatenated or looked up.
    """
    uses: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for graph in all_graphs(model.graph):
        for node in graph.node:
            for index, name in enumerate(node.input):
                uses[name].append((node, index))
    constants = {tensor.name for tensor in model.graph.initializer}
    names = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        if tensor.doc_string == FIXED or not any(_trains(*use, tensor, constants) for use in uses[tensor.name]):
            names.append(tensor.name)
    return tuple(names)


def _trains(node: NodeProto, index: int, tensor: TensorProto, constants: Collection[str]) -> bool:
    if index in TRAINED_OPERANDS.get(node.op_type, ()):
        if index == 0 and node.input[1] in constants:
            return False  # not a weight but an input that is the same for all images, such as positions
        return not _is_filler(node, tensor) and not _is_same_filter_for_all(node, index, tensor)
    several = int(np.prod(tensor.dims)) > 1
    return node.op_type in TRAINED_WHEN_SEVERAL and several and not _is_mask(tensor)


def _is_filler(node: NodeProto, tensor: TensorProto) -> bool:
    """Recognise unnamed ones or zeros, which ONNX demands of a normalization without parameters."""
    if node.op_type not in NORMALIZATIONS or not ANONYMOUS.search(tensor.name):
        return False
    values = np.unique(numpy_helper.to_array(tensor))
    return values.size == 1 and values[0] in (0.0, 1.0)


def _is_same_filter_for_all(node: NodeProto, index: int, tensor: TensorProto) -> bool:
    """Recognise a blur or interpolation: the same filter for every channel, which training would not leave so.

    Filters of a single repeated number do not count: networks initialized so hold nothing else.
    """
    groups = attribute_of(node, "group", 1)
    if not node.op_type.startswith("Conv") or index != 1 or groups < 2 or tensor.dims[1] != 1:
        return False
    filters = numpy_helper.to_array(tensor).reshape(groups, -1)
    return bool((filters == filters[0]).all()) and np.unique(filters[0]).size > 1


def _is_mask(tensor: TensorProto) -> bool:
    values = np.unique(numpy_helper.to_array(tensor))
    return values.size == 2 and values[1] == 0 and values[0] <= MASKED


def name_weights(model: ModelProto) -> ModelProto:
    """Return a copy in which numbered weights and biases are called after their layer.

    The name comes from the bias beside the weight where that is named (`encoder.mlp.0.bias`), else from the node's
    scope as torch's older exporter and tf2onnx write it (`/layer1/layer1.0/conv1/Conv`).
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name for tensor in copy.graph.initializer}
    taken = set(constants)
    names: dict[str, str] = {}
    for weight, bias, node in _layers(copy, constants):
        layer = (
            _layer_of(bias)
            if bias and not ANONYMOUS.search(bias)
            else _scope(node.name) or _scope(weight) or _scope(bias or "")
        )
        for tensor, kind in ((weight, "weight"), (bias, "bias")):
            if layer and tensor and ANONYMOUS.search(tensor) and tensor not in names:
                new = f"{layer}.{kind}"
                if new not in taken:
                    names[tensor] = new
                    taken.add(new)
    rename_tensors(copy.graph, names)
    return copy


def _weights(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """Yield the weight operand of every layer."""
    for node in nodes:
        position = WEIGHT_OPERANDS.get(node.op_type)
        if position is not None and len(node.input) > position:
            yield node.input[position]


def _layers(model: ModelProto, constants: set[str]) -> Iterator[tuple[str, str | None, NodeProto]]:
    """Yield weight, bias (if any) and node of every layer."""
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    for node in model.graph.node:
        position = WEIGHT_OPERANDS.get(node.op_type)
        if position is None or len(node.input) <= position or node.input[position] not in constants:
            continue
        bias = BIAS_OPERANDS.get(node.op_type)
        if bias is not None and len(node.input) > bias:
            yield node.input[position], node.input[bias], node
            continue
        added = [reader for reader in readers[node.output[0]] if reader.op_type in ADDING]
        biases = [name for reader in added for name in reader.input if name in constants]
        yield node.input[position], biases[0] if len(added) == 1 and biases else None, node


def _layer_of(bias: str) -> str:
    """Return the layer of a bias: `head.bias` → `head`, `attention.in_proj_bias` → `attention.in_proj`."""
    return re.sub(r"[._]bias$", "", bias)


def _scope(name: str) -> str:
    """Return the scope in a node's name, empty where it has none.

    `/layer1/layer1.0/conv1/Conv` → `layer1.0.conv1`, `model/stem/Conv2D` → `model.stem`.
    """
    parts = [part for part in name.split("/") if part][:-1]
    if not parts:
        return ""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)
