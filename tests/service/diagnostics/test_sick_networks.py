"""Networks made sick on purpose: our verdict through ONNX, and the same conclusion from torch autograd."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from bench.verdicts.corpus import CLASSES, SIZE, chain, photographs, with_dead_units
from bench.verdicts.judging import bundle_of, diagnosis_of

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


def relative_by_torch(network: nn.Module) -> np.ndarray:
    """√Σ_c(‖W_c‖·‖dW_c‖)² / ‖dL/dlogits‖ per sample and layer, float64, one sample at a time."""
    network = network.double()
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    rows = []
    for image, label in zip(torch.from_numpy(IMAGES).double(), torch.from_numpy(LABELS), strict=True):
        logits = network(image[None])
        loss = functional.cross_entropy(logits, label[None])
        cotangent, *gradients = torch.autograd.grad(loss, [logits, *weights])
        rows.append(
            [
                float((w.detach().norm(dim=1) * d.norm(dim=1)).norm() / cotangent.norm())
                for w, d in zip(weights, gradients, strict=True)
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("truth", SICK)
def test_the_verdict_is_right_and_rests_on_what_autograd_says(truth: str) -> None:
    torch.manual_seed(0)
    network = SICK[truth]()
    found = diagnosis_of(*bundle_of(as_onnx(network)), IMAGES, LABELS)
    assert found.verdict.state == truth, found.verdict.because
    ours = np.array([layer.relative_gradient_norm for layer in found.layers]).T
    # A sample for whose label p = 1 has a cotangent of 0 in torch; ours is NaN there, and judged otherwise.
    usable = np.isfinite(ours).all(axis=1)
    assert usable.any()
    assert ours[usable] == pytest.approx(relative_by_torch(network)[usable], rel=1e-3)
