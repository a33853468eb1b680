"""Constant places in every sample, counted through the whole batch; and values that the batch size alone decides."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, UnsupportedOperator, differentiate, prepare, to_float64
from export.running.reference import evaluate
from tests.export.gradient.cases.case import ints, w
from tests.export.gradient.rules.oracles import directional_derivative, numerical_gradient
from tests.export.gradient.rules.runner import runtime

ROWS, WIDTH, CLASSES, BATCH = 3, 4, 5, 3
LABEL = np.array([0, 4, 1])
node = helper.make_node

BATCH_SIZE = [node("Shape", ["image"], ["size"], "size", end=1), node("Squeeze", ["size"], ["count"], "count")]
SAMPLES = [
    *BATCH_SIZE,
    node("Range", ["zero", "count", "one"], ["samples"], "samples"),
    node("Reshape", ["samples", "column"], ["sample"], "sample"),
]
"""[N, 1, 1]: the number of every sample."""


def placed(places: list[tuple[int, ...]]) -> list[onnx.NodeProto]:
    """[N, places, 1 + depth]: every place in every sample."""
    return [
        *SAMPLES,
        node("Expand", ["sample", "places_shape"], ["numbers"], "numbers"),
        node("Concat", ["size", "rest"], ["wide"], "wide", axis=0),
        node("Expand", ["within", "wide"], ["inside"], "inside"),
        node("Concat", ["numbers", "inside"], ["index"], "index", axis=2),
    ]


def constants(places: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    within = np.array(places, dtype=np.int64)[None]
    return {
        "zero": np.array(0),
        "one": np.array(1),
        "column": ints(-1, 1, 1),
        "within": within,
        "places_shape": ints(1, len(places), 1),
        "rest": ints(*within.shape[1:]),
    }


def network(nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray], width: int) -> onnx.ModelProto:
    """image [N, rows, width] → "h" = image·mix → nodes → "y" → tanh → flatten → linear."""
    arrays = {"mix.weight": w(WIDTH, WIDTH), "head.weight": w(width, CLASSES), **arrays}
    every = [
        node("MatMul", ["image", "mix.weight"], ["h"], "mix"),
        *nodes,
        node("Tanh", ["y"], ["bent"], "bent"),
        node("Flatten", ["bent"], ["flat"], "flat", axis=1),
        node("MatMul", ["flat", "head.weight"], ["scores"], "head"),
    ]
    read = {name for each in every for name in each.input}
    graph = helper.make_graph(
        every,
        "placed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", ROWS, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def assert_right(single: onnx.ModelProto, *, constant: tuple[str, ...] = ()) -> None:
    """The same logits as the file's own graph; gradients against central differences; float32 against float64."""
    outputs = ("logits", "weight_square", "bias_square", "other_square", "input_gradient")
    model = to_float64(single)
    ready = prepare(model, constants=constant)
    image = np.random.default_rng(1).normal(size=(BATCH, ROWS, WIDTH))
    given = {"input": image, "label": LABEL, "cotangent_scale": np.ones(BATCH)}
    exact = evaluate(differentiate(ready, outputs), given)
    np.testing.assert_allclose(exact["logits"], evaluate(model, {"image": image})["scores"], rtol=1e-12)
    direction = np.random.default_rng(2).normal(size=image.shape)
    projected = (exact["input_gradient"] * direction).reshape(BATCH, -1).sum(axis=1)
    np.testing.assert_allclose(projected, directional_derivative(model, image, LABEL, direction), rtol=1e-6)
    columns = [(f"{layer.name}.weight", exact["weight_square"][:, at]) for at, layer in enumerate(ready.layers)]
    columns += [(other.name, exact["other_square"][:, at]) for at, other in enumerate(ready.other_parameters)]
    for name, squares in columns:
        gradient = numerical_gradient(model, name, image, LABEL).reshape(BATCH, -1)
        np.testing.assert_allclose(squares, np.square(gradient).sum(1), rtol=1e-5, atol=1e-15)
    trained = {tensor.name for tensor in single.graph.initializer if tensor.name.endswith("weight")} - set(constant)
    assert {name for name, _ in columns} == trained
    single_given = {name: value.astype(np.float32) if value.dtype == float else value for name, value in given.items()}
    found = runtime(differentiate(prepare(single, constants=constant), outputs)).run(list(outputs), single_given)
    for name, value in zip(outputs, found, strict=True):
        scale = np.abs(exact[name]).max(initial=0)
        np.testing.assert_allclose(value, exact[name], rtol=2e-4, atol=1e-5 * scale + 1e-12, err_msg=name)


PLACES: list[list[tuple[int, ...]]] = [[(1,)], [(2,), (0,)], [(0, 1), (2, 3), (1, 1)], [(-1, -2), (0, 0)]]


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_entries_written_at_the_same_places_of_every_sample(places: list[tuple[int, ...]]) -> None:
    """`y[:, 1] = u` in place."""
    entry = [] if len(places[0]) == 2 else [WIDTH]
    nodes = [
        *placed(places),
        node("Slice", ["h", "start", "end", "axis"], ["some"], "some"),
        node("Reshape", ["some", "update_shape"], ["update"], "update"),
        node("Mul", ["update", "slope.weight"], ["scaled"], "scaled"),
        node("ScatterND", ["h", "index", "scaled"], ["y"], "written"),
    ]
    count = len(places) * int(np.prod(entry))
    rows = -(-count // WIDTH)
    arrays = constants(places) | {
        "start": ints(0, 0),
        "end": ints(rows, count // rows),
        "axis": ints(1, 2),
        "update_shape": ints(-1, len(places), *entry),
        "slope.weight": w(len(places), *entry, low=0.5, high=2.0),
    }
    model = network(nodes, arrays, ROWS * WIDTH)
    assert_right(model, constant=("slope.weight",) if len(places) * int(np.prod(entry)) == 1 else ())


def test_entries_written_along_the_axes_before_the_samples() -> None:
    nodes = [
        node("Transpose", ["h"], ["rows"], "rows", perm=[1, 0, 2]),
        node("Gather", ["rows", "taken"], ["update"], "update", axis=0),
        node("Sigmoid", ["update"], ["bent_update"], "bent_update"),
        node("ScatterND", ["rows", "index", "bent_update"], ["written"], "written"),
        node("Transpose", ["written"], ["y"], "back", perm=[1, 0, 2]),
    ]
    assert_right(network(nodes, {"taken": ints(0, 1), "index": ints(2, 0).reshape(2, 1)}, ROWS * WIDTH))


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_entries_read_at_the_same_places_of_every_sample(places: list[tuple[int, ...]]) -> None:
    nodes = [*placed(places), node("GatherND", ["h", "index"], ["y"], "read")]
    width = len(places) * (1 if len(places[0]) == 2 else WIDTH)
    assert_right(network(nodes, constants(places), width))


def test_all_samples_by_their_number_are_the_samples() -> None:
    """`y = h[0 : len(h)]`, as torch's tracing writes it."""
    nodes = [*BATCH_SIZE, node("Slice", ["h", "start", "size", "axis"], ["y"], "all")]
    assert_right(network(nodes, {"start": ints(0), "axis": ints(0)}, ROWS * WIDTH))


def test_what_is_written_into_another_sample_is_refused() -> None:
    nodes = [
        *BATCH_SIZE,
        node("Sub", ["count", "one"], ["last"], "last"),
        node("Range", ["last", "minus", "minus"], ["backwards"], "backwards"),
        node("Reshape", ["backwards", "column"], ["index"], "index"),
        node("ScatterND", ["h", "index", "h"], ["y"], "crossed"),
    ]
    arrays = {"one": np.array(1), "minus": np.array(-1), "column": ints(-1, 1)}
    with pytest.raises(UnsupportedOperator, match="crossed"):
        prepare(network(nodes, arrays, ROWS * WIDTH))


MASK = [
    *BATCH_SIZE,
    node("Concat", ["size", "row"], ["sizes"], "sizes", axis=0),
    node("ConstantOfShape", ["sizes"], ["ones"], "ones", value=numpy_helper.from_array(np.ones(1, np.float32))),
    node("CumSum", ["ones", "axis"], ["steps"], "steps"),
]
"""[N, rows]: 1, 2, 3 in every sample, of the batch size alone."""


def test_no_rule_is_needed_for_what_the_batch_size_alone_decides() -> None:
    """`Mod` has no rule; the weight behind it has its gradient."""
    nodes = [
        *MASK,
        node("Mod", ["steps", "divisor"], ["modulo"], "modulo", fmod=1),
        node("Unsqueeze", ["modulo", "last"], ["column"], "column"),
        node("MatMul", ["column", "place.weight"], ["placed"], "place"),
        node("Add", ["h", "placed"], ["y"], "sum"),
    ]
    arrays = {
        "row": ints(ROWS),
        "axis": np.array(1),
        "divisor": np.array(2.5, np.float32),
        "last": ints(2),
        "place.weight": w(1, WIDTH),
    }
    assert_right(network(nodes, arrays, ROWS * WIDTH), constant=("divisor",))


def test_one_sample_of_what_is_the_same_in_all_is_a_constant() -> None:
    """`positions[0]` of positions that were repeated for every sample, and a trained layer behind it."""
    nodes = [
        *BATCH_SIZE,
        node("Concat", ["size", "grid"], ["sizes"], "sizes", axis=0),
        node("Expand", ["positions", "sizes"], ["repeated"], "repeated"),
        node("Gather", ["repeated", "first"], ["one_of_them"], "one_of_them", axis=0),
        node("MatMul", ["one_of_them", "place.weight"], ["placed"], "place"),
        node("Add", ["h", "placed"], ["y"], "sum"),
    ]
    arrays = {
        "grid": ints(ROWS, 2),
        "positions": w(1, ROWS, 2, seed=8),
        "first": np.array(0),
        "place.weight": w(2, WIDTH),
    }
    assert_right(network(nodes, arrays, ROWS * WIDTH), constant=("positions",))


@pytest.mark.parametrize("operator", ["Expand", "Tile"])
def test_a_trained_layer_s_answer_is_repeated_for_every_sample(operator: str) -> None:
    """XCiT's positions: `projection(positions).repeat(batch, 1, 1)`."""
    nodes = [
        *BATCH_SIZE,
        node("Concat", ["size", "grid"], ["sizes"], "sizes", axis=0),
        node("MatMul", ["positions", "place.weight"], ["placed"], "place"),
        node(operator, ["placed", "sizes"], ["repeated"], "repeated"),
        node("Mul", ["h", "repeated"], ["y"], "product"),
    ]
    arrays = {"grid": ints(1, 1), "positions": w(1, ROWS, 2, seed=8), "place.weight": w(2, WIDTH)}
    assert_right(network(nodes, arrays, ROWS * WIDTH), constant=("positions",))
