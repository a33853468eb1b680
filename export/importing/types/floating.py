"""Graphs that compute in float16, bfloat16 or float64, made to compute in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from export.graph.branches import all_graphs
from export.graph.graph import Array
from export.importing.types.sizes import keep_apart

OTHER_FLOATS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
TYPE_ATTRIBUTES = {"to", "dtype", "stash_type", "output_dtype", "softmax_precision"}
"""Attributes that hold an element type as a number."""
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Promoted:
    """A model that computes in float32, and the names of the other types that it computed in."""

    model: ModelProto
    types: tuple[str, ...]


def promoted(model: ModelProto) -> Promoted:
    """Return `model` with every float16, bfloat16 and float64 tensor, Cast, input and output in float32.

    Arithmetic with sizes keeps its float64 (see `sizes`). The same model is returned where nothing is to be changed.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = keep_apart(copy.graph)
    found: dict[str, None] = {}
    for graph in all_graphs(copy.graph):
        for tensor in graph.initializer:
            if tensor.name not in kept:
                found |= _promote(tensor)
        for node in graph.node:
            if not kept.intersection(node.output):
                found |= _promote_attributes(node)
        for value in (*graph.input, *graph.output):
            kind = value.type.tensor_type
            if kind.elem_type in OTHER_FLOATS:
                found[OTHER_FLOATS[kind.elem_type]] = None
                kind.elem_type = TensorProto.FLOAT
        del graph.value_info[:]
    if not found:
        return Promoted(model, ())
    _drop_casts(copy.graph)
    return Promoted(copy, tuple(found))


def in_float32(value: Array) -> Array:
    """Return `value` as float32: what is too large becomes the largest number, what is too small the smallest normal.

    So a mask of −1.8e308 stays finite, and a number that keeps a divisor from zero stays above it.
    """
    wide = value.astype(np.float64)
    size = np.abs(wide)
    bounded = np.where(np.isfinite(wide) & (size > LARGEST), np.copysign(LARGEST, wide), wide)
    bounded = np.where((size > 0) & (size < SMALLEST), np.copysign(SMALLEST, wide), bounded)
    return np.asarray(bounded.astype(np.float32))


def _promote(tensor: TensorProto) -> dict[str, None]:
    kind = tensor.data_type
    if kind not in OTHER_FLOATS:
        return {}
    tensor.CopyFrom(numpy_helper.from_array(in_float32(numpy_helper.to_array(tensor)), tensor.name))
    return {OTHER_FLOATS[kind]: None}


def _promote_attributes(node: NodeProto) -> dict[str, None]:
    found: dict[str, None] = {}
    for attribute in node.attribute:
        if attribute.HasField("t"):
            found |= _promote(attribute.t)
        if attribute.name in TYPE_ATTRIBUTES and attribute.i in OTHER_FLOATS:
            found[OTHER_FLOATS[attribute.i]] = None
            attribute.i = TensorProto.FLOAT
    return found


def _drop_casts(graph: GraphProto) -> None:
    """Make Casts of what is float32 already Identities, as far as that is plain, so that weights are seen as such."""
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    floats |= {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT:
            if node.input[0] in floats:
                node.op_type = "Identity"
                del node.attribute[:]
            floats.update(node.output)
        elif _holds_float(node) or (node.op_type == "Identity" and node.input[0] in floats):
            floats.update(node.output)


def _holds_float(node: NodeProto) -> bool:
    stored = (a for a in node.attribute if node.op_type == "Constant")
    return any(a.name in ("value_float", "value_floats") or a.t.data_type == TensorProto.FLOAT for a in stored)
