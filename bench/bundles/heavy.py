"""A bundle whose run takes long enough for everything around it not to matter.

Queueing is compared on it because on two processors the load generator and nginx would otherwise take as much
time as the replicas whose waiting is looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.bundles.copies import imported
from export.importing.flags.options import ImportOptions

CHANNELS, SIDE, LAYERS, CLASSES = 64, 48, 8, 10


def write(folder: Path) -> Path:
    """Write the bundle `folder/heavy`: 8 convolutions of 64 channels at 48×48, 0.6 G multiply-adds, random weights."""
    labels = tuple(f"class {number}" for number in range(CLASSES))
    return imported(network(), "heavy", ImportOptions(labels, mean=(0.5,) * 3, std=(0.25,) * 3), folder)


def network() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    def drawn(shape: tuple[int, ...], spread: float) -> str:
        weights.append(numpy_helper.from_array(random.normal(0, spread, shape).astype(np.float32), f"w{len(weights)}"))
        return f"w{len(weights) - 1}"

    last = "image"
    for channels in (3, *[CHANNELS] * (LAYERS - 1)):
        kernel = drawn((CHANNELS, channels, 3, 3), np.sqrt(2 / (9 * channels)))
        last = add("Relu", add("Conv", last, kernel, pads=[1, 1, 1, 1]))
    last = add("MatMul", add("Flatten", add("GlobalAveragePool", last)), drawn((CHANNELS, CLASSES), 0.1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "heavy", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
