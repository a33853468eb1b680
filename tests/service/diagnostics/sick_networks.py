"""Networks made sick on purpose, as torch modules and as graphs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bench.verdicts.corpus import CLASSES, SIZE, chain, photographs, with_dead_units

IMAGES = photographs()[:16]
LABELS = np.arange(len(IMAGES)) % CLASSES

SICK = {
    "healthy": lambda: chain(8, nn.ReLU),
    "vanishing": lambda: chain(10, nn.Sigmoid, gain="glorot"),
    "exploding": lambda: chain(12, nn.ReLU, 2.0),
    "dead": lambda: with_dead_units(0.8),
}

OPERATORS = {nn.Flatten: "Flatten", nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid"}


def as_onnx(network: nn.Sequential) -> onnx.ModelProto:
    """A chain as a graph, node by node: torch's own exporter takes seconds."""
    nodes, weights, tensor = [], [], "input"
    for index, module in enumerate(network):
        output = "logits" if index == len(network) - 1 else f"t{index}"
        if isinstance(module, nn.Linear):
            names = [f"{index}.weight", f"{index}.bias"]
            values = [module.weight, module.bias]
            weights += [numpy_helper.from_array(v.detach().numpy(), n) for v, n in zip(values, names, strict=True)]
            nodes.append(helper.make_node("Gemm", [tensor, *names], [output], transB=1))
        else:
            nodes.append(helper.make_node(OPERATORS[type(module)], [tensor], [output]))
        tensor = output
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
