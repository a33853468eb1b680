"""Rounding at the very end of a file, whose answer is then in half precision or in 8 bits.

Rounding has no gradient, and the engine computes in float32. So the answer is taken before the rounding, and may
differ from the file's own by as much as that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from export.graph.edits import keep_only
from export.graph.graph import STANDARD, stored_tensors

FLOATS = {
    TensorProto.FLOAT: ("float32", 0.0),
    TensorProto.DOUBLE: ("float64", 0.0),
    TensorProto.FLOAT16: ("float16", 2e-3),
    TensorProto.BFLOAT16: ("bfloat16", 2e-2),
}
"""Element type → its name, and the error of probabilities in it: four times half a unit in the last place."""
PASSED = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "Slice", "Gather"}
PASSED |= {"Softmax", "LogSoftmax"}


@dataclass(frozen=True)
class Unrounded:
    """A model without the rounding of its answer, which moves probabilities by `tolerance` at most, and notes."""

    model: ModelProto
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()


def without_rounding(model: ModelProto, output: str) -> Unrounded:
    """Return `model` without the casts and quantizations among its last nodes (see `_last`)."""
    copy = ModelProto()
    copy.CopyFrom(model)
    values = stored_tensors(copy.graph)
    tolerance, kinds, changed = 0.0, list[str](), False
    for node in _last(copy, output):
        if node.op_type == "Cast":
            kind, loss = FLOATS[node.attribute[0].i]
            changed |= kind != "float32"
        elif node.op_type == "QuantizeLinear" and node.input[1] in values:
            kind, loss = "integers", 2 * float(np.max(numpy_helper.to_array(values[node.input[1]])))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            kind, loss = "integers", 0.0
        else:
            continue
        node.op_type = "Identity"
        del node.attribute[:]
        del node.input[1:]
        tolerance = max(tolerance, loss)
        kinds += [kind] if loss else []
    if not changed and not kinds:
        return Unrounded(model)
    copy.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    copy.graph.output[0].type.tensor_type.ClearField("shape")
    note = f"the file rounds its answer to {', '.join(dict.fromkeys(kinds))}: it is taken before that"
    return Unrounded(keep_only(copy, output), tolerance, (note,) if kinds else ())


def _last(model: ModelProto, output: str) -> Iterator[NodeProto]:
    """Yield the nodes from `output` backwards, as long as they only reshape, round or normalize it."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(output)
    while node is not None and node.domain in STANDARD:
        is_rounding = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        is_rounding |= node.op_type == "Cast" and node.attribute[0].i in FLOATS
        if not is_rounding and node.op_type not in PASSED:
            return
        source = node.input[0]  # read before the caller rewrites the node
        yield node
        node = producers.get(source)
