"""A bundle whose run takes long enough for everything around it not to matter.

Queueing is compared on it because on two processors the load generator and nginx would otherwise take as much
time as the replicas whose waiting is looked at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.importing.command import import_bundle
from export.importing.flags.options import ImportOptions

CHANNELS, SIDE, LAYERS, CLASSES = 64, 48, 8, 10


def write(folder: Path, name: str = "heavy") -> Path:
    """Write the bundle `folder/name`: 8 convolutions of 64 channels at 48×48, 0.6 G multiply-adds, random weights."""
    labels = tuple(f"class {number}" for number in range(CLASSES))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{name}.onnx"
        onnx.save(network(), str(file))
        import_bundle(file, name, ImportOptions(labels=labels, mean=(0.5,) * 3, std=(0.25,) * 3), folder)
    return folder / name


def network() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, weights, last, channels = [], [], "image", 3
    for layer in range(LAYERS):
        shape = (CHANNELS, channels, 3, 3)
        weight = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes += [
            helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
        last, channels = f"r{layer}", CHANNELS
    head = random.normal(0, 0.1, (CHANNELS, CLASSES)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "heavy", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
