"""Trained constants that act on constants alone: every sample has a gradient of them, through what they add to it.

image [N, T, T] → Sum with a bias [T, T] that a chain computes from trained arrays and constant positions →
Softmax → flatten → linear, and beside it the image → linear. Central differences must give the same norms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.gradient import OPSET, Prepared, differentiate, prepare, to_float64
from export.gradient.staging import IMAGE
from service.contract.outputs import GRAPHS
from tests.export.gradient.cases.case import ints, w
from tests.export.gradient.networks.central_differences import assert_float32_agrees, exact_norms, feeds
from tests.export.gradient.rules.runner import runtime

TOKENS, CLASSES, BATCH = 4, 3, 3
LABEL = np.array([0, 2, 1])
POSITIONS = w(TOKENS * TOKENS, 2, seed=9)
GRID = w(1, 2, TOKENS, TOKENS, seed=9)
PAIRS = np.arange(TOKENS)[:, None] - np.arange(TOKENS) + TOKENS - 1


@dataclass(frozen=True)
class Chain:
    """Steps from "positions" (or a parameter) to a bias [T, T] or one that broadcasts to [N, T, T].

    A step's first operand is the tensor before it unless it names another; arrays are parameters,
    integer arrays and those called "fixed" are constants. `junction` is how it meets the image.
    """

    name: str
    steps: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = field(hash=False)
    positions: Any = field(default_factory=lambda: POSITIONS, hash=False)
    trained: bool = False
    junction: str = "Add"

    def __str__(self) -> str:
        return self.name


def s(operator: str, *operands: Any, **attributes: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return operator, operands or ("h",), attributes


SQUARE = ints(TOKENS, TOKENS)
MLP = (s("MatMul", "h", w(2, 5)), s("Add", "h", w(5)), s("Relu"), s("MatMul", "h", w(5, 3, seed=1)))
CHAINS = [
    Chain("position bias of one head", (*MLP, s("Gather", "h", np.array(1), axis=1), s("Reshape", "h", SQUARE))),
    Chain(
        "position bias as Swin v2 has it",
        (
            *MLP,
            s("Gather", "h", np.arange(TOKENS * TOKENS)[::-1].copy(), axis=0),
            s("Reshape", "h", ints(TOKENS, TOKENS, 3)),
            s("Transpose", perm=[2, 0, 1]),
            s("Sigmoid"),
            s("ReduceMean", "h", ints(0), keepdims=1),
        ),
    ),
    Chain(
        "Gemm", (s("Gemm", "h", w(5, 2), w(5), transB=1), s("Tanh"), s("Gemm", "h", w(5, 1)), s("Reshape", "h", SQUARE))
    ),
    Chain(
        "positions as a map",
        (
            s("Conv", "h", w(3, 2, 3, 3), w(3), pads=[1, 1, 1, 1]),
            s("BatchNormalization", "h", w(3), w(3), w(3, seed=4), w(3, seed=5, low=0.5, high=2.0)),
            s("Gelu"),
            s("Conv", "h", w(1, 3, 1, 1)),
            s("Squeeze", "h", ints(0, 1)),
        ),
        GRID,
    ),
    Chain(
        "scale through a bound", (s("Clip", "h", None, np.array(0.5, np.float32)), s("Exp")), w(TOKENS, 1), True, "Mul"
    ),
    Chain("table", (s("Gather", "h", PAIRS, axis=0),), w(2 * TOKENS - 1), True),
    Chain(
        "table of heads",
        (
            s("Gather", "h", PAIRS.reshape(-1), axis=0),
            s("Reshape", "h", ints(TOKENS, TOKENS, 3)),
            s("ReduceSum", "h", ints(-1), keepdims=0),
        ),
        w(2 * TOKENS - 1, 3),
        True,
    ),
    Chain(
        "interpolated embedding",
        (s("Resize", "h", None, None, ints(1, 1, TOKENS, TOKENS), mode="linear"), s("Reshape", "h", SQUARE)),
        w(1, 1, 2, 3),
        True,
    ),
    Chain("product with itself", (s("Transpose"), s("MatMul", "positions", "h")), w(TOKENS, 3), True),
    Chain(
        "normalized and scored",
        (
            s("LayerNormalization", "h", w(2), w(2), axis=-1),
            s("Unsqueeze", "h", ints(0)),
            s("MatMul", "h", w(2, TOKENS)),
            s("Softmax", axis=-1),
            s("Slice", "h", ints(0), ints(TOKENS), ints(1)),
        ),
    ),
    Chain(
        "joined and padded",
        (
            s("Concat", "h", w(1, 2), axis=0),
            s("Pad", "h", ints(0, 1, 0, 1)),
            s("MatMul", "h", w(4, TOKENS)),
            s("Slice", "h", ints(-1), ints(-TOKENS - 1), ints(0), ints(-1)),
            s("LogSoftmax", axis=0),
        ),
    ),
    Chain("repeated for every sample", (*MLP[:1], s("ReduceMax", "h", ints(1), keepdims=0), s("Reshape", "h", SQUARE))),
    Chain(
        "division by a length",
        (s("LpNormalization", axis=0), s("Mul", "h", "h"), s("Sub", "h", w(1))),
        w(TOKENS, TOKENS),
        True,
        "Div",
    ),
]
FOLDED = {"repeated for every sample": "p01.weight", "product with itself": "positions"}
"""Chains that the engine leaves folded, and what they were computed from."""


def network(chain: Chain) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model, and its initializers that are constants."""
    arrays: dict[str, np.ndarray] = {"positions": chain.positions}
    constants = [] if chain.trained else ["positions"]
    nodes, tensor = [], "positions"
    for index, (operator, operands, attributes) in enumerate(chain.steps):
        names = []
        for position, operand in enumerate(operands):
            if isinstance(operand, str):
                names.append(tensor if operand == "h" else operand)
            elif operand is None:
                names.append("")
            else:
                names.append(f"p{index}{position}.weight")
                arrays[names[-1]] = operand
                statistic = operator == "BatchNormalization" and position > 2
                if operand.size == 1 or operand.dtype.kind == "i" or statistic:
                    constants.append(names[-1])
        tensor = f"h{index}"
        nodes.append(helper.make_node(operator, names, [tensor], f"step{index}", **attributes))
    rng = np.random.default_rng(4)
    for name in ("head.weight", "branch.weight"):
        arrays[name] = (rng.normal(size=(TOKENS * TOKENS, CLASSES)) / TOKENS).astype(np.float32)
    nodes += [
        helper.make_node(chain.junction, ["image", tensor], ["met"], "junction"),
        helper.make_node("Softmax", ["met"], ["attention"], axis=-1),
        helper.make_node("Flatten", ["attention"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "head.weight"], ["main"], "head"),
        helper.make_node("Flatten", ["image"], ["pixels"], axis=1),
        helper.make_node("MatMul", ["pixels", "branch.weight"], ["aside"], "branch"),
        helper.make_node("Add", ["main", "aside"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", TOKENS, TOKENS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return model, tuple(constants)


def trained(model: onnx.ModelProto, constants: tuple[str, ...]) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer} - set(constants)


def listed(ready: Prepared) -> set[str]:
    biases = {layer.bias for layer in ready.weighted if layer.bias}
    return {layer.source for layer in ready.weighted} | {other.name for other in ready.other_parameters} | biases


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_weights_that_act_on_constants_have_the_gradient_of_what_they_add(chain: Chain) -> None:
    single, constants = network(chain)
    model = to_float64(single)
    ready = prepare(model, constants=constants)
    image = np.random.default_rng(1).normal(size=(BATCH, TOKENS, TOKENS))
    if chain.name not in FOLDED:
        assert listed(ready) == trained(model, constants)
    weights = [layer.source for layer in ready.weighted]
    biases = [layer.bias for layer in ready.weighted if layer.bias]
    exact = exact_norms(model, ready, image, LABEL, weights, biases)
    assert_float32_agrees(prepare(single, constants=constants), image, LABEL, exact)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_every_graph_answers_by_sample(chain: Chain) -> None:
    """A sample has the same rows alone and beside a tensor of NaN, in every output of every graph."""
    model, constants = network(chain)
    ready = prepare(model, constants=constants)
    image = np.random.default_rng(1).normal(size=(BATCH, TOKENS, TOKENS)).astype(np.float32)
    image[1] = np.nan
    for graph in GRAPHS:
        session = runtime(differentiate(ready, graph))
        names = [output.name for output in session.get_outputs()]
        inputs = {value.name for value in session.get_inputs()}
        of_all, of_one = (feeds(some, LABEL) | {"layer": np.array([IMAGE])} for some in (image, image[:1]))
        beside = session.run(names, {key: value for key, value in of_all.items() if key in inputs})
        alone = session.run(names, {key: value for key, value in of_one.items() if key in inputs})
        for name, one, several in zip(names, alone, beside, strict=True):
            if name != "batch_square":
                assert (len(one), len(several)) == (1, BATCH)
                scale = np.abs(one).max(initial=0)
                np.testing.assert_allclose(several[0], one[0], rtol=1e-5, atol=1e-6 * scale, err_msg=f"{graph} {name}")


@pytest.mark.parametrize("name", FOLDED)
def test_what_stays_folded_is_named(name: str) -> None:
    chain = next(chain for chain in CHAINS if chain.name == name)
    model, constants = network(chain)
    ready = prepare(model, constants=constants)
    assert listed(ready) == {"head.weight", "branch.weight"}
    assert any(FOLDED[name] in note for note in ready.notes)


def test_a_kernel_computed_from_weights_is_a_layer_and_its_weights_are_named() -> None:
    """Weight standardization: the convolution's own kernel must be constant."""
    arrays = {"raw.weight": w(3, 2, 3, 3), "head.weight": w(3, CLASSES), "axes": ints(1, 2, 3)}
    nodes = [
        helper.make_node("ReduceMean", ["raw.weight", "axes"], ["mean"], "mean"),
        helper.make_node("Sub", ["raw.weight", "mean"], ["kernel"], "centred"),
        helper.make_node("Conv", ["image", "kernel"], ["maps"], "conv"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head.weight"], ["scores"], "head"),
    ]
    graph = helper.make_graph(
        nodes,
        "standardized",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 2, 5, 5])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    ready = prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10))
    assert [layer.name for layer in ready.layers] == ["kernel", "head"]
    assert any("raw.weight" in note for note in ready.notes)


def with_first_copy(taken: bool) -> onnx.ModelProto:
    """image [N, T] → (image · p + sin p) · weight, where p is copied for each sample; sin p is of the first copy."""
    of_first = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Expand", ["p", "shape"], ["copies"]),
        helper.make_node("Gather" if taken else "Identity", ["copies", "first"] if taken else ["p"], ["one"]),
        helper.make_node("Sin", ["one"], ["bent"]),
        helper.make_node("Mul", ["image", "copies"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bent"], ["sum"]),
        helper.make_node("MatMul", ["sum", "head.weight"], ["logits"]),
    ]
    constants = {"p": w(1, TOKENS), "head.weight": w(TOKENS, CLASSES), "first": np.array(0)}
    graph = helper.make_graph(
        of_first,
        "copies",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", TOKENS])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_the_first_of_a_parameter_s_copies_is_the_parameter() -> None:
    """`positions[0]`, behind an `expand` to the batch: its gradient adds to that of the copies."""
    norms = []
    for taken in (True, False):
        ready = prepare(with_first_copy(taken))
        session = runtime(differentiate(ready, ["other_square"]))
        image = np.random.default_rng(3).standard_normal((BATCH, TOKENS)).astype(np.float32)
        given = {"input": image, "label": LABEL, "cotangent_scale": np.ones(BATCH, np.float32)}
        norms.append(session.run(["other_square"], given)[0])
        assert [entry.name for entry in ready.other_parameters] == ["p"]
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)
