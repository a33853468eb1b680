"""Files in float16, bfloat16 and float64, which are computed in float32."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from export.importing.command import import_bundle
from export.importing.types.floating import in_float32
from service.contract.bundle_schema import Bundle
from tests.export.importing.answer.references import answers, session, softmax
from tests.export.importing.graphs import body, classifier, images, node, options, saved, weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime.transformers.float16 import convert_float_to_float16

Array = NDArray[Any]
TYPES: dict[int, tuple[Any, str, float]] = {
    TensorProto.FLOAT16: (np.float16, "float16", 0.02),
    TensorProto.BFLOAT16: (ml_dtypes.bfloat16, "bfloat16", 0.1),
    TensorProto.DOUBLE: (np.float64, "float64", 1e-5),
}


def throughout(element: int, nodes: Sequence[NodeProto] | None = None, **constants: Array) -> ModelProto:
    """The classifier with every float in one type, and its input and output too."""
    kind = TYPES[element][0]
    own = {name: value.astype(kind) for name, value in {**weights(), **constants}.items()}
    model = classifier(nodes, constants=own, element=element, opset=22)
    model.graph.output[0].type.tensor_type.elem_type = element
    return model


def imported(model: ModelProto, folder: Path, **how: Any) -> Bundle:
    return import_bundle(saved(model, folder, **how), "stranger", options(), folder)


def note_of(bundle: Bundle) -> str:
    (note,) = [note for note in bundle.notes if note.startswith("numbers of the file are")]
    return note


@pytest.mark.parametrize("element", TYPES)
@pytest.mark.parametrize("external", [False, True])
def test_a_file_in_another_float_type_is_computed_in_float32(tmp_path: Path, element: int, external: bool) -> None:
    kind, name, bound = TYPES[element]
    how = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0} if external else {}
    bundle = imported(throughout(element), tmp_path, **how)
    assert name in note_of(bundle)
    assert "its own scores differ by at most" in note_of(bundle)
    rounded = {key: np.asarray(value.astype(kind), np.float32) for key, value in weights().items()}
    expected = session(classifier(constants=rounded)).run(None, {"image": images(3)})[0]
    found = answers(tmp_path, "weight_norms", images(3))
    assert np.allclose(found["logits"], expected, atol=1e-5)
    assert [layer.weight_norm for layer in bundle.layers] == pytest.approx(
        [float(np.linalg.norm(rounded[key])) for key in ("conv.weight", "head.weight")], rel=1e-6
    )
    assert float(note_of(bundle).split("at most ")[1].split()[0]) <= bound


def test_the_difference_in_the_note_is_that_of_the_file_s_own_scores(tmp_path: Path) -> None:
    """Noise of the size of pixels: what the note says bounds what is seen here, and is no more than ten times it."""
    model = throughout(TensorProto.FLOAT16)
    said = float(note_of(imported(model, tmp_path)).split("at most ")[1].split()[0])
    batch = images(8)
    own = session(model).run(None, {"image": batch.astype(np.float16)})[0].astype(np.float64)
    seen = float(np.abs(own - answers(tmp_path, "forward", batch)["logits"]).max())
    assert 0.1 * said <= seen <= 10 * said


@pytest.mark.parametrize("keep_ends", [True, False], ids=["float32 ends", "float16 ends"])
@pytest.mark.parametrize("blocked", [[], ["Gemm"]], ids=["all", "mixed"])
def test_files_of_the_usual_converter_are_taken(tmp_path: Path, keep_ends: bool, blocked: list[str]) -> None:
    model = convert_float_to_float16(classifier(opset=17), keep_io_types=keep_ends, op_block_list=blocked)
    casts = [n for n in model.graph.node if n.op_type == "Cast"]
    assert bool(casts) == (keep_ends or bool(blocked))
    bundle = imported(model, tmp_path)
    assert "float16" in note_of(bundle)
    assert [layer.name for layer in bundle.layers] == ["conv", "head"]
    assert [layer.bias for layer in bundle.layers] == [True, True]
    given = images(3).astype(np.float32 if keep_ends else np.float16)
    own = session(model).run(None, {"image": given})[0]
    assert np.allclose(answers(tmp_path, "forward", images(3))["logits"], own, atol=0.02)


def test_weights_that_are_stored_in_float16_and_cast_are_weights(tmp_path: Path) -> None:
    halves = {f"{name}.half": value.astype(np.float16) for name, value in weights().items()}
    casts = [node("Cast", [f"{name}.half"], [f"{name}.whole"], to=TensorProto.FLOAT) for name in weights()]
    nodes = [*casts, *body()]
    for entry in nodes[len(casts) :]:
        entry.input[:] = [f"{name}.whole" if name in weights() else name for name in entry.input]
    model = classifier(nodes, constants=halves)
    bundle = imported(model, tmp_path)
    assert [layer.parameters for layer in bundle.layers] == [135, 20]
    assert [layer.bias for layer in bundle.layers] == [True, True]
    own = session(model).run(None, {"image": images(3)})[0]
    assert np.allclose(answers(tmp_path, "forward", images(3))["logits"], own, atol=1e-5)


def masked(value: float, kind: Any, element: int) -> ModelProto:
    """Scores of which a Softmax over the channels hides two by adding a mask to them."""
    mask = np.array([0, value, 0, value, 0], kind).reshape(1, 5, 1, 1)
    nodes = body()
    nodes[1:2] = [node("Add", ["y", "mask"], ["m"]), node("Softmax", ["m"], ["r"], axis=1)]
    return throughout(element, nodes, mask=mask)


@pytest.mark.parametrize(
    ("value", "element"), [(-65504.0, TensorProto.FLOAT16), (np.finfo(np.float64).min, TensorProto.DOUBLE)]
)
def test_a_mask_of_the_smallest_number_of_its_type_hides_what_it_hid(
    tmp_path: Path, value: float, element: int
) -> None:
    model = masked(value, TYPES[element][0], element)
    bundle = imported(model, tmp_path)
    assert bundle.other_parameters == ()
    found = answers(tmp_path, "weight_norms", images(3))
    assert np.isfinite(found["weight_square"]).all()
    plain = classifier(masked(-1e4, np.float32, TensorProto.DOUBLE).graph.node, constants={
        "mask": np.array([0, -1e4, 0, -1e4, 0], np.float32).reshape(1, 5, 1, 1)
    })  # fmt: skip
    expected = session(plain).run(None, {"image": images(3)})[0]
    assert np.allclose(found["logits"], expected, atol=0.02)


@given(st.floats(allow_nan=False), st.sampled_from([np.float64, np.float16]))
def test_a_constant_keeps_its_sign_and_its_distance_from_zero_and_infinity(value: float, kind: Any) -> None:
    with np.errstate(over="ignore"):
        stored = np.array(value).astype(kind)
    found, exact = in_float32(stored), float(stored)
    assert found.dtype == np.float32
    assert np.sign(found) == np.sign(exact)
    assert np.isfinite(found) == np.isfinite(exact)
    if 1e-37 < abs(exact) < 1e38:
        assert found == pytest.approx(exact, rel=1e-7)


def test_arithmetic_with_sizes_keeps_its_precision(tmp_path: Path) -> None:
    """⌊6 · 2.1666666666⌋ is 12 in float64; the factor in float32 is above 13 / 6."""
    factor = 13 / 6 - 1e-9
    assert np.floor(6 * np.float32(factor)) == 13
    sizes = [
        node("Shape", ["image"], ["shape"], start=2, end=4),
        node("Cast", ["shape"], ["wide"], to=TensorProto.DOUBLE),
        node("Mul", ["wide", "factor"], ["grown"]),
        node("Floor", ["grown"], ["whole"]),
        node("Cast", ["whole"], ["spatial"], to=TensorProto.INT64),
        node("Shape", ["image"], ["front"], start=0, end=2),
        node("Concat", ["front", "spatial"], ["sizes"], axis=0),
        node("Resize", ["image", "", "", "sizes"], ["large"], mode="nearest"),
    ]
    nodes = [*sizes, *body()]
    nodes[len(sizes)].input[0] = "large"
    model = classifier(nodes, constants={"factor": np.array(factor)})
    bundle = imported(model, tmp_path)
    assert bundle.layers[0].output_shape == (5, 12, 12)
    assert not any("float64" in note for note in bundle.notes)


def test_a_file_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    """A convolution of float32 with a float16 bias: no runtime takes it, but what is meant is plain."""
    bundle = imported(classifier(constants={"conv.bias": weights()["conv.bias"].astype(np.float16)}), tmp_path)
    assert "the file itself cannot be run here" in note_of(bundle) or "differ by at most" in note_of(bundle)


def test_probabilities_in_float16_are_taken_for_probabilities(tmp_path: Path) -> None:
    model = throughout(TensorProto.FLOAT16, [*body(), node("Softmax", ["scores"], ["p"], axis=1)])
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT16, None))
    imported(model, tmp_path)
    own = session(model).run(None, {"image": images(3).astype(np.float16)})[0]
    assert np.allclose(softmax(answers(tmp_path, "forward", images(3))["logits"]), own, atol=5e-3)
