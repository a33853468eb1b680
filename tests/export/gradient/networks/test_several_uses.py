"""A parameter that is read several times, each time in another arrangement: its norm is of the sum of all uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.gradient import differentiate, prepare
from tests.export.importing.graphs import body, classifier, images, node, weights

LABEL = np.array([2, 0])
DRAW = np.random.default_rng(8)
SECOND = DRAW.standard_normal((5, 5, 1, 1), dtype=np.float32)
SQUARE = DRAW.standard_normal((6, 6), dtype=np.float32)


def norms(model: Any) -> dict[str, NDArray[Any]]:
    graph = differentiate(prepare(model), "weight_norms")
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"input": images(), "label": LABEL, "cotangent_scale": np.ones(2, np.float32)}
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))


def squares(loss_of: Any, parameter: NDArray[Any]) -> list[float]:
    """‖dL/dp‖² of each sample by torch in float64."""
    found = []
    for image, label in zip(images(), LABEL, strict=True):
        leaf = torch.from_numpy(parameter).double().requires_grad_()
        scores = loss_of(torch.from_numpy(image[None]).double(), leaf)
        torch.nn.functional.cross_entropy(scores, torch.tensor([label])).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        found.append(float(leaf.grad.square().sum()))
    return found


def given(name: str) -> torch.Tensor:
    return torch.from_numpy(weights()[name]).double()


def test_a_bias_of_one_layer_that_is_added_behind_another() -> None:
    """As ONNX Runtime's dynamic quantizer writes layers whose biases were equal."""
    nodes = body()
    nodes[2:2] = [
        node("Conv", ["r", "second.weight"], ["z"], "second"),
        node("Reshape", ["conv.bias", "sizes"], ["b"], "rearranged"),
        node("Add", ["z", "b"], ["s"], "bias_add"),
    ]
    nodes[5].input[0] = "s"
    model = classifier(nodes, constants={"second.weight": SECOND, "sizes": np.array([1, -1, 1, 1])})

    def scores(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = torch.relu(torch.nn.functional.conv2d(x, given("conv.weight"), bias, padding=1))
        x = torch.nn.functional.conv2d(x, torch.from_numpy(SECOND).double()) + bias.reshape(1, -1, 1, 1)
        return x.mean(dim=(2, 3)) @ given("head.weight").T + given("head.bias")

    found = norms(model)["bias_square"][:, 0]
    np.testing.assert_allclose(found, squares(scores, weights()["conv.bias"]), rtol=1e-4)


def test_a_square_parameter_that_is_added_as_it_is_and_transposed() -> None:
    nodes = [
        node("Add", ["image", "square"], ["a"], "plain"),
        node("Transpose", ["square"], ["t"], "turned", perm=[1, 0]),
        node("Sigmoid", ["a"], ["g"], "gate"),
        node("Mul", ["g", "t"], ["m"], "product"),
        *body(),
    ]
    nodes[4].input[0] = "m"

    def scores(x: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(x + square) * square.T
        x = torch.relu(torch.nn.functional.conv2d(x, given("conv.weight"), given("conv.bias"), padding=1))
        return x.mean(dim=(2, 3)) @ given("head.weight").T + given("head.bias")

    found = norms(classifier(nodes, constants={"square": SQUARE}))["other_square"][:, 0]
    np.testing.assert_allclose(found, squares(scores, SQUARE), rtol=1e-4)
