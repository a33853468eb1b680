"""Every way to unfold a convolution gives the same weight gradient; costs only choose among them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, differentiate, prepare, to_float64
from export.gradient.rules.convolution import shifted_gram
from export.gradient.rules.convolution import unfolding as ways
from export.gradient.rules.convolution.taps import Sharing
from export.gradient.rules.convolution.windows import Window
from export.running.reference import evaluate
from tests.export.gradient.networks.torch_networks import feeds

WAYS = (ways.unfolded, ways.shared_unfolding, ways.shifted, ways.unfolded_planes)
NORMS = ("weight_square", "scaled_square", "batch_square")


def classifier(kernel: tuple[int, int], pads: list[int], dilations: list[int]) -> onnx.ModelProto:
    """One convolution from 3 to 4 channels on maps of 6×7, and a linear layer."""
    generator = np.random.default_rng(3)
    sizes = [
        6 + pads[0] + pads[2] - dilations[0] * (kernel[0] - 1),
        7 + pads[1] + pads[3] - dilations[1] * (kernel[1] - 1),
    ]
    weights = {
        "w.weight": generator.normal(size=(4, 3, *kernel)),
        "head.weight": generator.normal(size=(4 * sizes[0] * sizes[1], 5)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w.weight"], ["y"], name="conv", pads=pads, dilations=dilations),
        helper.make_node("Tanh", ["y"], ["h"], name="tanh"),
        helper.make_node("Flatten", ["h"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "head.weight"], ["scores"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "unfolding",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 6, 7])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


GEOMETRIES = [
    ((3, 3), [1, 1, 1, 1], [1, 1]),
    ((3, 3), [0, 2, 1, 0], [1, 1]),
    ((2, 3), [0, 0, 0, 0], [2, 1]),
    ((3, 1), [2, 0, 2, 0], [2, 1]),
    ((1, 2), [0, 1, 0, 1], [1, 2]),
    ((5, 5), [4, 4, 4, 4], [1, 1]),
]


@pytest.mark.parametrize(("kernel", "pads", "dilations"), GEOMETRIES)
def test_every_way_to_unfold_gives_the_same_norms(
    kernel: tuple[int, int], pads: list[int], dilations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepare(to_float64(classifier(kernel, pads, dilations)))
    image = np.random.default_rng(0).normal(size=(3, 3, 6, 7))
    found = {}
    for unfold in WAYS:
        monkeypatch.setattr(ways, "unfolding_costs", lambda *_, only=unfold: {only: 0.0})
        found[unfold.__name__] = evaluate(differentiate(ready, NORMS), feeds(image, (0, 4, -1)))
    monkeypatch.setattr(Sharing, "spare_rows", 1)
    monkeypatch.setattr(ways, "unfolding_costs", lambda *_: {ways.shifted: 0.0})
    found["shifted with a spare row"] = evaluate(differentiate(ready, NORMS), feeds(image, (0, 4, -1)))
    expected = found.pop("unfolded")
    assert all((expected[name] > 0).all() for name in NORMS)
    for way, squares in found.items():
        for name in NORMS:
            np.testing.assert_allclose(squares[name], expected[name], rtol=1e-12, err_msg=f"{way}: {name}")


@pytest.mark.parametrize(("kernel", "pads", "dilations"), GEOMETRIES)
def test_the_shifted_gram_matrix_gives_the_same_norms(
    kernel: tuple[int, int], pads: list[int], dilations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepare(to_float64(classifier(kernel, pads, dilations)))
    image = np.random.default_rng(0).normal(size=(3, 3, 6, 7))
    found = {}
    for cost in (-1e6, 1e6):
        monkeypatch.setattr(shifted_gram, "SHIFT_COST", cost)
        graph = differentiate(ready, NORMS[:2])
        assert any(node.op_type == "Sum" for node in graph.graph.node) == (cost < 0)
        found[cost] = evaluate(graph, feeds(image, (0, 4, -1)))
    for name in NORMS[:2]:
        np.testing.assert_allclose(found[-1e6][name], found[1e6][name], rtol=1e-12, err_msg=name)


def test_a_way_that_does_not_apply_is_never_chosen() -> None:
    strided = Window((6, 7), (3, 4), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    beyond = Window((2, 2), (2, 2), (5, 5), (1, 1), (1, 1), (2, 2), (2, 2))
    for place in (strided, beyond):
        costs = ways.unfolding_costs(place, 16, 16)
        assert costs[ways.shifted] == costs[ways.unfolded_planes] == np.inf


@pytest.mark.parametrize(
    ("rows", "columns", "spare"), [(32, 32, 1), (16, 64, 1), (64, 64, 1), (16, 16, 0), (33, 32, 0), (8, 1024, 0)]
)
def test_a_spare_row_keeps_the_rows_of_a_factor_apart_in_the_cache(rows: int, columns: int, spare: int) -> None:
    """A whole number of 4 KiB from row to row is what the first cache cannot hold many of."""
    place = Window((rows, columns), (rows, columns), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    assert Sharing(place).spare_rows == spare
