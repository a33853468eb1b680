"""A parameter that is read several times, in whatever arrangement: its norm is of the sum of all uses, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.gradient import UnsupportedGraph, differentiate, prepare
from tests.export.importing.graphs import body, classifier, images, node, weights

LABEL = np.array([2, 0])
DRAW = np.random.default_rng(8)
SECOND = DRAW.standard_normal((5, 5, 1, 1), dtype=np.float32)
SQUARE = DRAW.standard_normal((6, 6), dtype=np.float32)


def norms(model: Any, excluded: Any = ()) -> dict[str, NDArray[Any]]:
    graph = differentiate(prepare(model, constants=excluded), "weight_norms")
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
    """ONNX Runtime's dynamic quantizer writes layers so whose biases were equal."""
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


@pytest.mark.parametrize("shared", ["gamma", "beta", "bias"])
def test_what_two_normalizations_or_their_convolutions_share(shared: str) -> None:
    """Exporters store equal parameters once, and a network that is not yet trained has many."""
    names = {
        f"{kind}{number}": f"{kind}{1 if kind == shared else number}"
        for kind in ("gamma", "beta", "bias", "mean", "variance")
        for number in (1, 2)
    }
    constants = {name: DRAW.uniform(0.5, 1.5, 5).astype(np.float32) for name in names.values()}
    nodes: list[Any] = []
    for number, (source, weight) in enumerate((("image", "conv.weight"), ("r1", "second.weight")), start=1):
        operands = [names[f"{kind}{number}"] for kind in ("gamma", "beta", "mean", "variance")]
        nodes += [
            node("Conv", [source, weight, names[f"bias{number}"]], [f"y{number}"], f"conv{number}"),
            node("BatchNormalization", [f"y{number}", *operands], [f"n{number}"], f"norm{number}"),
            node("Relu", [f"n{number}"], [f"r{number}"], f"relu{number}"),
        ]
    nodes += body()[2:]
    nodes[6].input[0] = "r2"

    def scores(x: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        def read(kind: str, number: int) -> torch.Tensor:
            return parameter if kind == shared else torch.from_numpy(constants[names[f"{kind}{number}"]]).double()

        for number, weight in enumerate((given("conv.weight"), torch.from_numpy(SECOND).double()), start=1):
            x = torch.nn.functional.conv2d(x, weight, read("bias", number))
            statistics = read("mean", number), read("variance", number)
            x = torch.nn.functional.batch_norm(x, *statistics, read("gamma", number), read("beta", number)).relu()
        return x.mean(dim=(2, 3)) @ given("head.weight").T + given("head.bias")

    model = classifier(nodes, constants={**constants, "second.weight": SECOND})
    excluded = [name for name in constants if name.startswith(("mean", "variance"))]
    ready = prepare(model, constants=excluded)
    output, columns = (
        ("bias_square", [layer.bias for layer in ready.weighted if layer.bias])
        if shared == "bias"
        else ("other_square", [other.name for other in ready.other_parameters])
    )
    found = norms(model, excluded)[output][:, columns.index(f"{shared}1")]
    np.testing.assert_allclose(found, squares(scores, constants[f"{shared}1"]), rtol=1e-4)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (
            [node("Transpose", ["square"], ["turned"], perm=[1, 0]), node("MatMul", ["t", "turned"], ["m"])],
            "is used in different arr",
        ),
        ([node("Add", ["t", "square"], ["m"], "plain")], "is read by Add too, which is no layer"),
    ],
    ids=["transposed", "added"],
)
def test_a_weight_whose_uses_cannot_be_joined_is_refused(second: list[Any], reason: str) -> None:
    nodes = [node("MatMul", ["image", "square"], ["t"], "first"), *second, *body()]
    nodes[1 + len(second)].input[0] = "m"
    with pytest.raises(UnsupportedGraph, match=rf"the weight 'square' {reason}"):
        prepare(classifier(nodes, constants={"square": SQUARE}))
