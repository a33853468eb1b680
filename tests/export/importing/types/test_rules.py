"""Each operator on integers, in a small graph: its float network answers as the file does, but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from export.graph.errors import UnsupportedOperator
from export.importing import import_classifier
from export.importing.command import import_bundle
from export.importing.types.integers import Integers
from service.contract.bundle_schema import Bundle
from tests.export.importing.answer.references import answers, session, softmax
from tests.export.importing.graphs import body, classifier, images, node, options, saved, weights

Array = NDArray[Any]
MICROSOFT = "com.microsoft"
IMAGE: dict[str, Array] = {"s": np.array(4 / 255, np.float32), "z": np.array(128, np.uint8)}
"""Step and nought of the image, which the graphs take as integers of −2…2."""
RESULT: dict[str, Array] = {"rs": np.array(6.3 / 255, np.float32), "rz": np.array(120, np.uint8)}
X, Y = ("q", "s", "z"), ("rs", "rz")
ROUND_IMAGE = node("QuantizeLinear", ["image", "s", "z"], ["q"])
FLOAT_AGAIN = node("DequantizeLinear", ["i", *Y], ["x"])


@dataclass(frozen=True)
class Step:
    """`nodes` from the integers `q` of the image to `x`, which the network's first convolution reads."""

    nodes: Sequence[NodeProto]
    constants: dict[str, Array] = field(default_factory=dict)
    channels: int = 3


def microsoft(operator: str, *inputs: str, **attributes: Any) -> NodeProto:
    return node(operator, list(inputs), ["i"], domain=MICROSOFT, **attributes)


def shaped(operator: str, *inputs: str, **attributes: Any) -> list[NodeProto]:
    """A standard operator on the integers themselves."""
    return [node(operator, ["q", *inputs], ["i"], **attributes), node("DequantizeLinear", ["i", "s", "z"], ["x"])]


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


STEPS = {
    "Add": Step([microsoft("QLinearAdd", *X, *X, *Y), FLOAT_AGAIN]),
    "Mul": Step([microsoft("QLinearMul", *X, *X, *Y), FLOAT_AGAIN]),
    "LeakyRelu": Step([microsoft("QLinearLeakyRelu", *X, *Y, alpha=0.3), FLOAT_AGAIN]),
    "Sigmoid": Step([microsoft("QLinearSigmoid", *X, *Y), FLOAT_AGAIN]),
    "Softmax": Step([microsoft("QLinearSoftmax", *X, *Y, axis=-1, opset=13), FLOAT_AGAIN]),
    "AveragePool": Step(
        [microsoft("QLinearAveragePool", *X, *Y, kernel_shape=[2, 2], strides=[1, 1]), FLOAT_AGAIN]
    ),
    "Concat": Step([microsoft("QLinearConcat", *Y, *X, *X, axis=2), FLOAT_AGAIN]),
    "Where": Step(
        [node("Greater", ["image", "nought"], ["c"]), microsoft("QLinearWhere", "c", *X, *X, *Y), FLOAT_AGAIN],
        {"nought": np.zeros((), np.float32)},
    ),
    "MaxPool": Step(shaped("MaxPool", kernel_shape=[2, 2])),
    "Transpose": Step(shaped("Transpose", perm=[0, 1, 3, 2])),
    "Pad": Step(shaped("Pad", "pads", "z"), {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "Slice": Step(shaped("Slice", "from", "to", "axis"), {"from": ints(1), "to": ints(5), "axis": ints(3)}),
    "a concatenation": Step(
        [node("Concat", ["q", "q"], ["i"], axis=3), node("DequantizeLinear", ["i", "s", "z"], ["x"])]
    ),
    "another step": Step([node("DequantizeLinear", ["q", "rs", "rz"], ["x"])]),
    "a cast": Step(
        [node("Cast", ["q"], ["c"], to=TensorProto.FLOAT), node("Mul", ["c", "s"], ["x"])]
    ),
    "a matrix": Step(
        [node("QLinearMatMul", [*X, "m", "ms", "mz", *Y], ["i"]), FLOAT_AGAIN],
        {
            "m": np.random.default_rng(3).integers(-40, 40, (6, 6), dtype=np.int8),
            "ms": np.linspace(0.004, 0.008, 6).astype(np.float32),
            "mz": np.zeros(6, np.int8),
        },
    ),
}  # fmt: skip


def of_step(step: Step) -> ModelProto:
    nodes = [ROUND_IMAGE, *step.nodes, *body()]
    nodes[1 + len(step.nodes)].input[0] = "x"
    return classifier(nodes, constants={**IMAGE, **RESULT, **step.constants}, domains=[MICROSOFT], opset=17)


def imported(model: ModelProto, folder: Path, **changes: Any) -> Bundle:
    return import_bundle(saved(model, folder), "stranger", options(**changes), folder)


@pytest.mark.parametrize("name", STEPS)
def test_the_float_network_of_an_operator_differs_by_rounding_alone(tmp_path: Path, name: str) -> None:
    model = of_step(STEPS[name])
    imported(model, tmp_path)
    batch = np.clip(images(4) / 2, -1.9, 1.9)
    own = session(model).run(None, {"image": batch})[0]
    assert np.allclose(answers(tmp_path, "forward", batch)["logits"], own, atol=1e-5)
    found = answers(tmp_path, "weight_norms", batch)["logits"]
    spread = np.abs(own - own.mean(axis=0)).max()
    assert 0 < np.abs(found - own).max() < max(0.2 * spread, 0.02)


def test_a_limit_of_zero_is_a_relu_and_a_whole_one_a_clip() -> None:
    def limits(step: float, nought: int, kind: Any = np.uint8) -> tuple[float | None, float | None]:
        return Integers(np.array(step, np.float32), np.array(nought, kind)).own_limits()

    assert limits(6 / 255, 0) == (0.0, 6.0)
    assert limits(6 / 255, -128, np.int8) == (0.0, 6.0)
    assert limits(5.93 / 255, 0) == (0.0, None)
    assert limits(4.21 / 255, 117) == (None, None)
    assert limits(1 / 127, 0, np.int8) == (None, 1.0)


def test_a_relu6_that_the_quantizer_left_out_is_there_again(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", ["y", "step", "nought"], ["q"]),
        node("DequantizeLinear", ["q", "step", "nought"], ["r"]),
    ]
    inside = body()
    nodes = [inside[0], *nodes, *inside[2:]]
    step: dict[str, Array] = {"step": np.array(6 / 255, np.float32), "nought": np.array(0, np.uint8)}
    bundle = imported(classifier(nodes, constants=step), tmp_path)
    assert bundle.layers[0].rectifier == "Clip"
    limited = body()
    limited[1:2] = [node("Clip", ["y", "low", "high"], ["r"])]
    plain = classifier(limited, constants={"low": np.zeros((), np.float32), "high": np.array(6, np.float32)})
    (tmp_path / "plain").mkdir()
    imported(plain, tmp_path / "plain")
    batch = images(3) * 6
    found, expected = (answers(folder, "weight_norms", batch) for folder in (tmp_path, tmp_path / "plain"))
    assert np.allclose(found["weight_square"], expected["weight_square"], rtol=1e-5)


def in_blocks(bits: int, noughts: bool) -> tuple[ModelProto, Array]:
    """The head's weight [5, 4] → [1, blocks of 16] in `bits` bits, and the weight [5, 4] that it stands for."""
    draw = np.random.default_rng(bits)
    rows, columns, size = 5, 4, 16
    stored = draw.integers(0, 2**bits, (columns, 1, size), dtype=np.uint8)
    steps = draw.uniform(0.05, 0.1, (columns, 1)).astype(np.float32)
    places = 8 // bits
    parts = [stored[..., at::places] << (bits * at) for at in range(places)]
    packed = np.sum(parts, axis=0).astype(np.uint8)
    constants = {"blocks": packed, "steps": steps}
    nought = np.full((columns, 1, 1), 2 ** (bits - 1))
    inputs = ["flat", "blocks", "steps"]
    if noughts:
        nought = draw.integers(0, 2**bits, (columns, 1, 1))
        constants["noughts"] = nought.reshape(columns, 1).astype(np.uint8)
        inputs.append("noughts")
    product = node("MatMulNBits", inputs, ["scores"], domain=MICROSOFT, K=rows, N=columns, bits=bits, block_size=size)
    weight = ((stored - nought.astype(np.float32)) * steps[..., None]).reshape(columns, size)[:, :rows].T
    return classifier([*body()[:-1], product], constants=constants, domains=[MICROSOFT], opset=17), weight


@pytest.mark.parametrize(("bits", "noughts"), [(4, False), (4, True), (8, False)])
def test_weights_in_blocks_are_the_floats_they_stand_for(tmp_path: Path, bits: int, noughts: bool) -> None:
    model, weight = in_blocks(bits, noughts)
    bundle = imported(model, tmp_path)
    assert bundle.quantized is not None
    assert (bundle.quantized.rounded, bundle.quantized.other_class) == ("weights", 0)
    assert bundle.quantized.probability_difference < 1e-4
    assert bundle.layers[1].weight_norm == pytest.approx(float(np.linalg.norm(weight)), rel=1e-6)
    own = session(model).run(None, {"image": images(3)})[0]
    assert np.allclose(softmax(answers(tmp_path, "forward", images(3))["logits"]), softmax(own), atol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
def test_products_that_onnx_runtime_has_fused_are_taken(tmp_path: Path, fused: bool) -> None:
    whole = weights()["head.weight"].T
    steps = (np.abs(whole).max(axis=0) / 127).astype(np.float32)
    constants = {
        "w": np.rint(whole / steps).astype(np.int8),
        "ws": steps,
        "wz": np.zeros(4, np.int8),
    }
    if fused:
        inputs = ["flat", "w", "ws", "wz", "head.bias"]
        nodes = [node("DynamicQuantizeMatMul", inputs, ["scores"], "head", domain=MICROSOFT)]
    else:
        inputs = ["q", "w", "qs", "ws", "qz", "wz", "head.bias"]
        nodes = [
            node("DynamicQuantizeLinear", ["flat"], ["q", "qs", "qz"]),
            node("MatMulIntegerToFloat", inputs, ["scores"], "head", domain=MICROSOFT),
        ]
    model = classifier([*body()[:-1], *nodes], constants=constants, domains=[MICROSOFT], opset=17)
    bundle = imported(model, tmp_path)
    assert (bundle.layers[1].parameters, bundle.layers[1].bias) == (20, True)
    own = np.concatenate([session(model).run(None, {"image": image[None]})[0] for image in images(3)])
    assert np.allclose(answers(tmp_path, "forward", images(3))["logits"], own, atol=1e-5)
    assert np.allclose(answers(tmp_path, "weight_norms", images(3))["logits"], own, atol=0.05)


def test_an_operator_that_is_not_known_on_integers_is_refused_by_name(tmp_path: Path) -> None:
    step = Step([node("Cos", ["q"], ["i"], "odd"), node("DequantizeLinear", ["i", "s", "z"], ["x"])])
    with pytest.raises(UnsupportedOperator, match=r"Cos \(node 'odd'\): it computes with 8-bit integers"):
        import_classifier(saved(of_step(step), tmp_path), options())


def test_pixels_in_bytes_may_go_straight_into_the_integer_network(tmp_path: Path) -> None:
    """The file takes uint8 and reads it as integers of its own; our input is float32 of whole numbers."""
    nodes = [node("DequantizeLinear", ["image", "s", "z"], ["x"]), *body()]
    nodes[1].input[0] = "x"
    inside = [
        node("QuantizeLinear", ["r", "rs", "rz"], ["rq"]),
        node("DequantizeLinear", ["rq", "rs", "rz"], ["rr"]),
    ]
    nodes[3:3] = inside
    nodes[5].input[0] = "rr"
    model = classifier(nodes, constants={**IMAGE, **RESULT}, element=TensorProto.UINT8)
    bundle = imported(model, tmp_path, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert bundle.quantized is not None
    pixels = np.random.default_rng(2).integers(0, 256, (3, 3, 6, 6), dtype=np.uint8)
    own = session(model).run(None, {"image": pixels})[0]
    assert np.allclose(answers(tmp_path, "forward", pixels.astype(np.float32))["logits"], own, atol=1e-5)
    onnx.checker.check_model(onnx.load(tmp_path / "stranger/forward.onnx"))


@pytest.mark.parametrize("ends_in_softmax", [False, True])
def test_an_answer_in_bytes_is_taken_for_the_numbers_it_stands_for(tmp_path: Path, ends_in_softmax: bool) -> None:
    nodes = [*body(), node("Softmax", ["scores"], ["p"], axis=1)] if ends_in_softmax else body()
    scale = 1 / 256 if ends_in_softmax else 8 / 255
    last: dict[str, Array] = {
        "step": np.array(scale, np.float32),
        "nought": np.array(0 if ends_in_softmax else 128, np.uint8),
    }
    rounded = node("QuantizeLinear", ["p" if ends_in_softmax else "scores", "step", "nought"], ["bytes"])
    model = classifier([*nodes, rounded], constants=last, outputs=["bytes"])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    imported(model, tmp_path)
    own = session(model).run(None, {"image": images(3)})[0].astype(np.float32)
    numbers = (own - last["nought"].astype(np.float32)) * last["step"]
    expected = numbers if ends_in_softmax else softmax(numbers)
    found = softmax(answers(tmp_path, "forward", images(3))["logits"])
    assert np.allclose(found, expected, atol=1 / 128 if ends_in_softmax else 1e-5)
