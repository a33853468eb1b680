"""The choices of a run: which rectifiers are open, and which entry of a window is the largest.

Some of a network's hundred thousand rectifiers stand within float32's rounding of their kink, and some windows of a
pool have two maxima. Which way they go differs between two right programs, and each changes a sample's norms by up
to a thousandth. What is left with the same choices is the error of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

Choices = Mapping[str, NDArray[Any]]
"""Output of a rectifier → which units are open, boolean; second output of a pool → places of the maxima, int64."""


def choosing(node: NodeProto) -> str:
    """Return the output that tells a node's choice; "" for a node that makes none."""
    if node.op_type == "Relu":
        return str(node.output[0])
    return str(node.output[1]) if node.op_type == "MaxPool" and len(node.output) > 1 else ""


def watched(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with further outputs, so that one run gives its answer and tells its choices."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {value.name for value in model.graph.output}
    for node in model.graph.node:
        name = choosing(node)
        if name and name not in have:
            kind = TensorProto.FLOAT if node.op_type == "Relu" else TensorProto.INT64
            copy.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return copy


def choices_of(model: onnx.ModelProto, outputs: Mapping[str, NDArray[Any]]) -> Choices:
    """Return the choices that a run of the watched graph tells."""
    made = {name: outputs[name] for node in model.graph.node if (name := choosing(node))}
    return {name: value if value.dtype == np.int64 else value > 0 for name, value in made.items()}
