"""Files that store weights as integers, take bytes, or round their answer: the float network that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from export.graph.errors import UnsupportedGraph
from export.importing import OptionMismatch
from export.importing.answer.probes import pictures
from export.importing.command import import_bundle
from service.contract.bundle_schema import Bundle
from service.images.preprocess import normalise
from tests.export.importing.answer.endings import READ_OFF, SOFTMAX, Ending, floats, number
from tests.export.importing.answer.references import answers, bundled, session, softmax
from tests.export.importing.graphs import body, classifier, images, node, options, saved, weights
from tests.export.importing.types.coarse_file import SPEC, coarse, without_integers

Array = NDArray[Any]

EIGHT_BITS = {"step": number(1 / 256), "nought": np.array(0, dtype=np.uint8)}
HALVES = [node("Cast", ["scores"], ["half"], to=TensorProto.FLOAT16), node("Softmax", ["half"], ["p"])]
ROUNDED = {
    "softmax in half precision": (
        Ending([*HALVES, node("Cast", ["p"], ["out"], to=TensorProto.FLOAT)]),
        1e-3,
        "numbers of the file are float16",
    ),
    "answer in half precision": (
        Ending([SOFTMAX, node("Cast", ["p"], ["out"], to=TensorProto.FLOAT16)]),
        1e-3,
        "numbers of the file are float16",
    ),
    "answer in double precision": (
        Ending([SOFTMAX, node("Cast", ["p"], ["out"], to=TensorProto.DOUBLE)]),
        1e-6,
        "numbers of the file are float64",
    ),
    "answer in eight bits": (
        Ending(
            [
                SOFTMAX,
                node("QuantizeLinear", ["p", "step", "nought"], ["q"]),
                node("DequantizeLinear", ["q", "step", "nought"], ["d"]),
                node("Flatten", ["d"], ["out"]),
            ],
            EIGHT_BITS,
        ),
        1 / 128,
        "the file rounds its answer to integers",
    ),
}
ELEMENTS = {TensorProto.FLOAT16, TensorProto.DOUBLE}


def with_its_type(ending: Ending) -> ModelProto:
    """The model, its output declared as what its last node makes."""
    model = ending.model()
    last = model.graph.node[-1]
    if last.op_type == "Cast":
        model.graph.output[0].type.tensor_type.elem_type = last.attribute[0].i
    return model


@pytest.mark.parametrize("name", ROUNDED)
def test_an_answer_is_taken_before_it_is_rounded(tmp_path: Path, name: str) -> None:
    ending, bound, words = ROUNDED[name]
    model = with_its_type(ending)
    bundle = import_bundle(saved(model, tmp_path), "stranger", options(labels=ending.names), tmp_path)
    assert bundle.quantized is None
    assert any(words in note for note in bundle.notes)
    found = answers(tmp_path, "weight_norms", images(4))
    own = session(model).run(["out"], {"image": images(4)})[0]
    assert np.allclose(softmax(found["logits"]), own, atol=bound)
    (tmp_path / "plain").mkdir()
    bundled(READ_OFF["softmax"], tmp_path / "plain")
    plain = answers(tmp_path / "plain", "weight_norms", images(4))
    assert np.allclose(found["weight_square"], plain["weight_square"], rtol=1e-5)


def quantized(axis: int | None, name: str) -> tuple[ModelProto, Array]:
    """The convolution's weight in int8, with a step for all or for every channel; and the weight it stands for."""
    weight = weights()["conv.weight"]
    step = np.abs(weight).max(axis=None if axis is None else (1, 2, 3)) / np.float32(127)
    column = step.reshape(-1, 1, 1, 1) if axis is not None else step
    stored = np.rint(weight / column).astype(np.int8)
    given: dict[str, Any] = {} if axis is None else {"axis": axis}
    nodes = [node("DequantizeLinear", ["stored", "step", "nought"], [name], "dequantize", **given), *body()]
    nodes[1].input[1] = name
    constants = {"stored": stored, "step": step.astype(np.float32), "nought": np.zeros(step.shape, np.int8)}
    return classifier(nodes, constants=constants, opset=17), stored * column


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", ["weight", "conv.w_DequantizeLinear_Output"])
def test_weights_in_eight_bits_are_the_floats_they_stand_for(tmp_path: Path, axis: int | None, name: str) -> None:
    model, weight = quantized(axis, name)
    bundle = import_bundle(saved(model, tmp_path), "stranger", options(), tmp_path)
    assert any("stores as integers" in note for note in bundle.notes)
    layer = bundle.layers[0]
    assert layer.name == name.removesuffix("_DequantizeLinear_Output")
    assert layer.weight_norm == pytest.approx(float(np.linalg.norm(weight)), rel=1e-6)
    found = answers(tmp_path, "weight_norms", images(4))
    own = session(model).run(["scores"], {"image": images(4)})[0]
    assert np.allclose(found["logits"], own, atol=1e-5)
    (tmp_path / "float").mkdir()
    plain = saved(classifier(constants={"conv.weight": weight.astype(np.float32)}), tmp_path / "float")
    import_bundle(plain, "stranger", options(), tmp_path / "float")
    expected = answers(tmp_path / "float", "weight_norms", images(4))
    assert np.allclose(found["weight_square"], expected["weight_square"], rtol=1e-5)


def of_bytes(first: str = "Cast") -> ModelProto:
    """uint8 [N, 6, 6, 3] → scores; the file divides and subtracts by itself."""
    cast = node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT)
    turn = node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2])
    if first == "Transpose":
        turn = node("Transpose", ["image"], ["pixels"], perm=[0, 3, 1, 2])
        cast = node("Cast", ["pixels"], ["turned"], to=TensorProto.FLOAT)
    between = [node("Div", ["turned", "full"], ["ones"]), node("Sub", ["ones", "mean"], ["x"])]
    nodes = [*([cast, turn] if first == "Cast" else [turn, cast]), *between, *body()]
    nodes[4].input[0] = "x"
    constants = {"full": number(255), "mean": floats(0.5, 0.4, 0.3).reshape(1, 3, 1, 1)}
    return classifier(nodes, constants=constants, element=TensorProto.UINT8, image=("N", 6, 6, 3))


def bundle_of_bytes(model: ModelProto, folder: Path, **changes: Any) -> Bundle:
    given = {"mean": (0.0,) * 3, "std": (1.0,) * 3, **changes}
    return import_bundle(saved(model, folder), "stranger", options(**given), folder)


@pytest.mark.parametrize("first", ["Cast", "Transpose"])
def test_a_file_of_bytes_gets_pixels_as_they_are(tmp_path: Path, first: str) -> None:
    model = of_bytes(first)
    bundle = bundle_of_bytes(model, tmp_path)
    assert (bundle.input.layout, bundle.input.scale) == ("nhwc", 255.0)
    pixels = np.random.default_rng(3).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    found = answers(tmp_path, "weight_norms", normalise(pixels, bundle.input))
    assert np.allclose(found["logits"], session(model).run(["scores"], {"image": pixels})[0], atol=1e-4)
    assert (found["weight_square"] > 0).all()


def test_no_mean_can_be_taken_off_bytes(tmp_path: Path) -> None:
    with pytest.raises(OptionMismatch, match="no --mean or --std"):
        bundle_of_bytes(of_bytes(), tmp_path, mean=(0.5,) * 3)


def test_a_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    """A convolution of bytes: the declared types contradict the operator."""
    with pytest.raises(UnsupportedGraph, match="computes with the integers of input"):
        bundle_of_bytes(classifier(element=TensorProto.UINT8), tmp_path)


def test_of_independent_labels_those_on_another_side_of_one_half_are_counted(tmp_path: Path) -> None:
    ending = node("Sigmoid", ["scores"], ["out"])
    bundle = import_bundle(saved(coarse(ending), tmp_path), "several", options(), tmp_path)
    assert bundle.label_kind == "independent"
    assert bundle.quantized is not None
    seen = normalise(pictures(SPEC), SPEC)
    own, exact = (session(model).run(None, {"image": seen})[0] for model in (coarse(), without_integers()))
    sides = ((own > 0) != (exact > 0)).any(axis=1)
    likeliest = own.argmax(axis=1) != exact.argmax(axis=1)
    assert bundle.quantized.other_class == sides.sum() != likeliest.sum()
