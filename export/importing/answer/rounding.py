"""Some files round at their very end: their answer is in half precision, or in 8 bits.

Rounding has no gradient, and the engine computes in float32; so the answer is taken before it, and
the file's own may differ by as much as the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from export.graph.graph import STANDARD, stored_tensors
from export.standard.ends import keep_only

FLOATS = {
    TensorProto.FLOAT: ("float32", 0.0),
    TensorProto.DOUBLE: ("float64", 0.0),
    TensorProto.FLOAT16: ("float16", 2e-3),
    TensorProto.BFLOAT16: ("bfloat16", 2e-2),
}
"""Name, and how far probabilities may be off for it: four times half a unit in the last place."""
PASSED = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "Slice", "Gather"}
PASSED |= {"Softmax", "LogSoftmax"}


@dataclass(frozen=True)
class Unrounded:
    """`model` without its answer's rounding, which moves probabilities by `tolerance` at most; `notes` say so."""

    model: ModelProto
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()


def without_rounding(model: ModelProto, output: str) -> Unrounded:
    """The casts and quantizations among the last nodes are taken out, where only those with a Softmax are behind."""
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
    """The nodes from `output` backwards for as long as they only shape, round and normalize it."""
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
