"""Samples merged with windows, heads or tokens into the first axis: the parts of a sample are summed before squaring.

The image [N, a, b, *row] becomes [N·a·b, *row] with the samples outermost, between or innermost, goes
through one operator, and is taken apart again: central differences must give the same norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, UnsupportedOperator, differentiate, prepare, to_float64
from export.gradient.staging import IMAGE
from export.running.reference import evaluate
from service.contract.outputs import GRAPHS
from tests.export.gradient.cases.case import w
from tests.export.gradient.networks.central_differences import assert_float32_agrees, exact_norms, feeds
from tests.export.gradient.rules.runner import runtime

Place = Literal["outermost", "between", "innermost"]

BATCH, CLASSES = 3, 4
LABEL = np.array([0, 3, 1])
PLACES: dict[Place, list[int]] = {"outermost": [0, 1, 2], "between": [1, 0, 2], "innermost": [1, 2, 0]}
few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Step:
    """Operators on rows of shape `row`: "h" is the tensor that comes in, arrays are parameters."""

    name: str
    row: tuple[int, ...]
    operators: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = field(hash=False)

    def __str__(self) -> str:
        return self.name


def step(name: str, row: Sequence[int], operator: str, *operands: Any, **attributes: Any) -> Step:
    return Step(name, tuple(row), ((operator, operands, attributes),))


VARIANCE = w(3, seed=1, low=0.5, high=2.0)
NORM: tuple[str, tuple[Any, ...], dict[str, Any]] = (
    "BatchNormalization",
    ("h", w(3), w(3, seed=2), w(3, seed=3), VARIANCE),
    {},
)
STEPS = [
    step("Conv", (2, 5, 4), "Conv", "h", w(3, 2, 3, 3), w(3), pads=[1, 1, 1, 1]),
    step("pointwise Conv", (2, 3, 2), "Conv", "h", w(3, 2, 1, 1)),
    step("strided Conv", (2, 5, 6), "Conv", "h", w(3, 2, 3, 3), w(3), strides=[2, 2], pads=[1, 1, 1, 1]),
    step("dilated and strided Conv", (2, 6, 6), "Conv", "h", w(3, 2, 2, 2), strides=[2, 1], dilations=[2, 2]),
    step("grouped Conv", (4, 4, 4), "Conv", "h", w(6, 2, 3, 3), w(6), group=2, pads=[1, 1, 1, 1]),
    step("depthwise Conv", (3, 4, 4), "Conv", "h", w(3, 1, 3, 3), group=3, pads=[1, 1, 1, 1]),
    step("Conv of one axis", (2, 6), "Conv", "h", w(3, 2, 3), w(3), pads=[1, 1]),
    step("Conv of many channels", (2, 2, 2), "Conv", "h", w(16, 2, 3, 3), w(16), pads=[1, 1, 1, 1]),
    step("ConvTranspose", (2, 3, 2), "ConvTranspose", "h", w(2, 3, 2, 2), w(3), strides=[2, 2]),
    step("grouped ConvTranspose", (4, 3, 2), "ConvTranspose", "h", w(4, 2, 2, 2), w(4), group=2),
    Step("folded BatchNormalization", (2, 4, 4), (("Conv", ("h", w(3, 2, 3, 3)), {"pads": [1, 1, 1, 1]}), NORM)),
    Step("BatchNormalization", (3,), (NORM,)),
    Step("BatchNormalization of one axis", (3, 4), (NORM,)),
    Step("BatchNormalization of two axes", (3, 2, 4), (NORM,)),
    step("MatMul of two axes", (3,), "MatMul", "h", w(3, 4)),
    step("MatMul of three axes", (5, 3), "MatMul", "h", w(3, 4)),
    step("MatMul of four axes", (2, 5, 3), "MatMul", "h", w(3, 4)),
    step("MatMul of five axes", (2, 2, 2, 3), "MatMul", "h", w(3, 4)),
    step("MatMul from the left", (5, 3), "MatMul", w(4, 5), "h"),
    step("MatMul from the left of four axes", (2, 5, 3), "MatMul", w(4, 5), "h"),
    step("Gemm", (3,), "Gemm", "h", w(4, 3), w(4), transB=1),
    step("LayerNormalization", (2, 3), "LayerNormalization", "h", w(3), w(3)),
    step("InstanceNormalization", (3, 2, 4), "InstanceNormalization", "h", w(3), w(3)),
    step("PRelu", (3, 2), "PRelu", "h", w(3, 1)),
    step("Mul", (3, 2), "Mul", "h", w(3, 2)),
    step("Einsum with a parameter", (5, 3), "Einsum", "h", w(3, 4), equation="bij,jk->bik"),
    step("Einsum with itself", (4, 3), "Einsum", "h", "h", equation="bid,bjd->bij"),
]


def network(steps: Step, a: int, b: int, place: Place) -> onnx.ModelProto:
    """image [N, a, b, *row] → [N·a·b, *row] → steps → Relu → [N, …] → linear, and beside it image → linear."""
    order = PLACES[place]
    row = list(range(3, 3 + len(steps.row)))
    constants: dict[str, np.ndarray] = {
        "merged": np.array([-1, *steps.row]),
        "half": np.array(0.5, np.float32),
        "leading": np.array([(-1, a, b)[axis] for axis in order]),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["moved"], perm=[*order, *row]),
        helper.make_node("Reshape", ["moved", "merged"], ["h0"]),
    ]
    for index, (operator, operands, attributes) in enumerate(steps.operators):
        names = []
        for position, operand in enumerate(operands):
            names.append(f"h{index}" if isinstance(operand, str) else f"p{index}{position}.weight")
            if not isinstance(operand, str):
                constants[names[-1]] = operand
        nodes.append(helper.make_node(operator, names, [f"h{index + 1}"], f"step{index}", **attributes))
    last = f"h{len(steps.operators)}"
    nodes += [
        helper.make_node("Add", [last, "half"], ["lifted"]),
        helper.make_node("Relu", ["lifted"], ["rectified"]),
        helper.make_node("Shape", [last], ["sizes"], start=1),
        helper.make_node("Concat", ["leading", "sizes"], ["target"], axis=0),
        helper.make_node("Reshape", ["rectified", "target"], ["split"]),
    ]
    return _with_head(nodes, constants, order, (a, b, *steps.row))


def _with_head(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], order: list[int], image: tuple[int, ...]
) -> onnx.ModelProto:
    """The split tensor with the samples in front, flattened, and its classes beside those of the image."""

    def model(tail: list[onnx.NodeProto], output: str, sizes: list[Any] | None) -> onnx.ModelProto:
        result = helper.make_empty_tensor_value_info(output)
        if sizes is not None:
            result = helper.make_tensor_value_info(output, TensorProto.FLOAT, sizes)
        graph = helper.make_graph(
            [*nodes, *tail],
            "merged",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *image])],
            [result],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    rank = evaluate(model([], "split", None), {"image": np.zeros((1, *image), np.float32)})["split"].ndim
    front = helper.make_node("Transpose", ["split"], ["front"], perm=[*np.argsort(order), *range(3, rank)])
    flat = helper.make_node("Flatten", ["front"], ["flat"], axis=1)
    width = evaluate(model([front, flat], "flat", None), {"image": np.zeros((1, *image), np.float32)})["flat"].shape[1]
    rng = np.random.default_rng(5)
    for name, size in (("head.weight", width), ("branch.weight", int(np.prod(image)))):
        constants[name] = (rng.normal(size=(size, CLASSES)) / np.sqrt(size)).astype(np.float32)
    tail = [
        front,
        flat,
        helper.make_node("MatMul", ["flat", "head.weight"], ["main"], "head"),
        helper.make_node("Flatten", ["image"], ["pixels"], axis=1),
        helper.make_node("MatMul", ["pixels", "branch.weight"], ["aside"], "branch"),
        helper.make_node("Add", ["main", "aside"], ["scores"]),
    ]
    return model(tail, "scores", ["N", CLASSES])


def image_of(model: onnx.ModelProto) -> np.ndarray:
    sizes = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(1).normal(size=(BATCH, *sizes))


def assert_right(steps: Step, a: int, b: int, place: Place) -> None:
    """Norms in float64 against central differences, and in float32 on ONNX Runtime against those."""
    single = network(steps, a, b, place)
    model = to_float64(single)
    ready, image = prepare(model), image_of(model)
    weights = [f"{layer.name}.weight" for layer in ready.layers]
    biases = [f"{layer.name[:-1]}2.weight" for layer in ready.layers if layer.bias]
    exact = exact_norms(model, ready, image, LABEL, weights, biases)
    listed = len(ready.layers) + len(ready.other_parameters) + sum(layer.bias for layer in ready.layers)
    statistics = 2 * any(operator == "BatchNormalization" for operator, _, _ in steps.operators)
    assert listed == sum(tensor.name.endswith(".weight") for tensor in model.graph.initializer) - statistics
    assert_float32_agrees(prepare(single), image, LABEL, exact)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_the_parts_of_a_sample_are_summed(steps: Step, place: Place) -> None:
    assert_right(steps, 2, 3, place)


@few
@given(st.sampled_from(STEPS), st.integers(1, 4), st.integers(1, 4), st.sampled_from(list(PLACES)))
def test_however_many_parts_a_sample_has(steps: Step, a: int, b: int, place: Place) -> None:
    assert_right(steps, a, b, place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_every_graph_answers_by_sample(steps: Step, place: Place) -> None:
    """A sample has the same rows alone and beside a tensor of NaN, in every output of every graph."""
    model = network(steps, 2, 3, place)
    ready, image = prepare(model), image_of(model).astype(np.float32)
    image[1] = np.nan
    for graph in GRAPHS:
        session = runtime(differentiate(ready, graph))
        names = [output.name for output in session.get_outputs()]
        inputs = {value.name for value in session.get_inputs()}
        of_all, of_one = (feeds(some, LABEL) | {"layer": np.array([IMAGE])} for some in (image, image[:1]))
        beside = session.run(names, {key: value for key, value in of_all.items() if key in inputs})
        alone = session.run(names, {key: value for key, value in of_one.items() if key in inputs})
        for name, one, several in zip(names, alone, beside, strict=True):
            if name == "batch_square":
                continue
            assert len(several) == BATCH
            assert len(one) == 1
            scale = np.abs(one).max(initial=0)
            np.testing.assert_allclose(several[0], one[0], rtol=1e-5, atol=1e-6 * scale, err_msg=f"{graph} {name}")
            if name.startswith("map/"):
                assert one.ndim == 4


@pytest.mark.parametrize("place", PLACES)
def test_maps_and_peaks_are_of_channels(place: Place) -> None:
    """The windows of a sample stand below each other in the maps, and share one peak per channel."""
    steps = STEPS[0]
    model = network(steps, 2, 3, place)
    ready, image = prepare(model), image_of(model).astype(np.float32)
    weight, bias = steps.operators[0][1][1:]
    windows = image.transpose(1, 2, 0, 3, 4, 5)
    expected = np.stack([[_rectified(windows[i, j], weight, bias) for j in range(3)] for i in range(2)])
    maps = runtime(differentiate(ready, "feature_maps")).run(["map/p01"], {"input": image})[0]
    assert maps.shape == (BATCH, 3, 6 * 5, 4)
    stacked = maps.reshape(BATCH, 3, 2, 3, 5, 4).transpose(2, 3, 0, 1, 4, 5)
    np.testing.assert_allclose(stacked, expected, rtol=1e-4, atol=1e-5)
    peaks = runtime(differentiate(ready, "activations")).run(["channel_peak"], {"input": image})[0]
    np.testing.assert_allclose(peaks, expected.max(axis=(0, 1, 4, 5)), rtol=1e-4, atol=1e-5)


def _rectified(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """relu(W ∗ x + b + ½), 3×3, padded by 1, by the definition."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    total = sum(
        np.einsum("oc,nchw->nohw", weight[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )
    found: np.ndarray = np.maximum(total + bias.reshape(1, -1, 1, 1) + 0.5, 0.0)
    return found


MIXING: dict[str, dict[str, Any]] = {
    "Softmax": {"axis": 0},
    "LogSoftmax": {"axis": 0},
    "LpNormalization": {"axis": 0},
    "ReduceMean": {"keepdims": 1},
    "ReduceMax": {"keepdims": 1},
}


@pytest.mark.parametrize("operator", MIXING)
def test_an_operator_along_the_merged_axis_is_refused_by_name(operator: str) -> None:
    with pytest.raises(UnsupportedOperator, match=operator):
        differentiate(prepare(along_the_batch(operator)), "weight_norms")


def along_the_batch(operator: str) -> onnx.ModelProto:
    """image [N, 2, 3] → [2N, 3] → operator over the rows → added to them → linear."""
    attributes = dict(MIXING[operator])
    operands = ["rows", "first"] if operator.startswith("Reduce") else ["rows"]
    arrays = {"merged": np.array([-1, 3]), "first": np.array([0]), "apart": np.array([-1, 6]), "head.weight": w(6, 4)}
    nodes = [
        helper.make_node("Reshape", ["image", "merged"], ["rows"]),
        helper.make_node(operator, operands, ["mixed"], operator, **attributes),
        helper.make_node("Add", ["rows", "mixed"], ["sum"]),
        helper.make_node("Reshape", ["sum", "apart"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head.weight"], ["scores"], "head"),
    ]
    graph = helper.make_graph(
        nodes,
        "mixing",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_operands_whose_samples_lie_otherwise_are_refused_by_name() -> None:
    """[N, 2] merged samples first, plus [2, N] merged samples last: row 1 would add sample 0 to sample 1."""
    arrays = {"merged": np.array([-1, 3]), "apart": np.array([-1, 6]), "head.weight": w(6, 4)}
    nodes = [
        helper.make_node("Reshape", ["image", "merged"], ["rows"]),
        helper.make_node("Transpose", ["image"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["turned", "merged"], ["columns"]),
        helper.make_node("Add", ["rows", "columns"], ["sum"], "crossed"),
        helper.make_node("Reshape", ["sum", "apart"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head.weight"], ["scores"], "head"),
    ]
    graph = helper.make_graph(
        nodes,
        "crossed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    with pytest.raises(UnsupportedOperator, match="crossed"):
        prepare(model)
