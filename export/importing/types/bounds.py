"""The range in which a tensor's numbers must lie, as far as the operator that makes it says so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto

from export.graph.graph import Array

Bounds = tuple[float, float]

FIXED: dict[str, Bounds] = {
    "Softmax": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Abs": (0.0, np.inf),
}
KEEPING = {
    "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool",
    "ReduceMax", "ReduceMean", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators whose results lie between the numbers of their first operand."""
WITH_ZERO = {"AveragePool", "Dropout"}
"""The same, but with zeros among those numbers."""


def bounds_behind(node: NodeProto, known: Mapping[str, Bounds], constants: Mapping[str, Array]) -> Bounds | None:
    """Return the bounds of a node's first output from the `known` ones of its operands; None where there are none."""
    low, high = known.get(node.input[0], (-np.inf, np.inf)) if node.input else (-np.inf, np.inf)
    if node.op_type == "Clip" and len(node.input) > 1:
        low, high = max(low, _limit(node, 1, constants, -np.inf)), min(high, _limit(node, 2, constants, np.inf))
    elif node.op_type in FIXED:
        low, high = FIXED[node.op_type]
    elif node.op_type == "Relu":
        low, high = max(low, 0.0), max(high, 0.0)
    elif node.op_type in WITH_ZERO:
        low, high = min(low, 0.0), max(high, 0.0)
    elif node.op_type == "Concat":
        ends = [known.get(name, (-np.inf, np.inf)) for name in node.input]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    elif node.op_type not in KEEPING:
        return None
    return (low, high) if np.isfinite(low) or np.isfinite(high) else None


def _limit(node: NodeProto, index: int, constants: Mapping[str, Array], absent: float) -> float:
    value = constants.get(node.input[index]) if len(node.input) > index else None
    return absent if value is None or value.size != 1 else float(value.reshape(()))
