"""Opsets 7 to the newest: a graph says the same before and after it is brought to the engine's own opset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.gradient import OPSET, differentiate, prepare
from export.importing.file.plain import standardize
from export.running.reference import evaluate
from export.standard.opset import OLDEST_OPSET
from export.tracing.freeing import free_batch
from tests.export.gradient.cases.case import Case, ints, w
from tests.export.gradient.cases.table import TABLE
from tests.export.gradient.rules.oracles import images as case_images
from tests.export.gradient.rules.oracles import network

Array = NDArray[Any]
NEWEST = onnx.defs.onnx_opset_version()
SHAPE = (3, 4, 6)
BATCH = 2


@dataclass(frozen=True, eq=False)
class Old:
    """One operator as an opset had it; operands are "x" (the image), None or a constant."""

    opset: int
    operator: str
    operands: tuple[Any, ...]
    attributes: dict[str, Any]
    outputs: int

    def __str__(self) -> str:
        described = " ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.opset} {self.operator} {described}".strip().replace("[", "").replace("]", "").replace(", ", ",")


def old(opset: int, operator: str, *operands: Any, outputs: int = 1, **attributes: Any) -> Old:
    return Old(opset, operator, operands or ("x",), attributes, outputs)


def floats(*values: float) -> Array:
    return np.array(values, dtype=np.float32)


SAMPLE_STATISTICS = (w(3), w(3), w(3), w(3, seed=1, low=0.5, high=2.0))

ATTRIBUTES_THAT_BECAME_OPERANDS = [
    old(9, "Clip", min=-0.5, max=0.7),
    old(9, "Clip", max=6.0),
    old(9, "Dropout", ratio=0.5),
    old(9, "Slice", starts=[1, 0], ends=[3, -1], axes=[1, 3]),
    old(9, "Slice", starts=[0, 1], ends=[2, 3]),
    old(9, "Pad", pads=[0, 0, 1, 2, 0, 1, 0, 2], value=0.3),
    old(9, "Pad", pads=[0, 0, 1, 2, 0, 0, 0, 2], mode="reflect"),
    old(9, "Split", split=[2, 4], axis=3, outputs=2),
    old(11, "Split", axis=-1, outputs=3),
    old(9, "Unsqueeze", axes=[1, 4]),
    old(9, "ReduceMean", axes=[2, 3], keepdims=0),
    old(11, "ReduceMean", axes=[-1]),
    old(9, "ReduceSum", axes=[1], keepdims=0),
    old(11, "ReduceSum", axes=[-1], keepdims=1),
    old(13, "ReduceMean", axes=[2, 3]),
    old(17, "ReduceMean", axes=[3], keepdims=0),
    old(9, "ReduceMax", axes=[2, 3]),
    old(12, "ReduceMin", axes=[1], keepdims=0),
    old(9, "ReduceL1", axes=[3]),
    old(9, "ReduceL2", axes=[1, 2]),
    old(13, "ReduceL2", axes=[1], keepdims=1),
    old(9, "ReduceSumSquare", axes=[3]),
    old(9, "ReduceLogSumExp", axes=[3]),
]

OTHER_MEANINGS = [
    old(9, "Softmax", axis=1),  # all axes from there on are one, until opset 13
    old(9, "Softmax", axis=3),
    old(11, "Softmax"),
    old(12, "LogSoftmax", axis=2),
    old(9, "Upsample", "x", floats(1, 1, 2, 2), mode="nearest"),
    old(9, "Upsample", "x", floats(1, 1, 2, 3), mode="linear"),
    old(10, "Resize", "x", floats(1, 1, 2, 2), mode="nearest"),
    old(10, "Resize", "x", floats(1, 1, 2, 2), mode="linear"),
    old(11, "Resize", "x", floats(), floats(1, 1, 2, 2), mode="linear", coordinate_transformation_mode="half_pixel"),
    old(11, "Resize", "x", floats(), floats(), ints(BATCH, 3, 8, 9), mode="nearest"),
    old(13, "Resize", "x", None, floats(1, 1, 2, 2), coordinate_transformation_mode="align_corners", mode="linear"),
    old(9, "BatchNormalization", "x", *SAMPLE_STATISTICS, epsilon=1e-3),
    old(14, "BatchNormalization", "x", *SAMPLE_STATISTICS, epsilon=1e-3),
    old(9, "DepthToSpace", "x", blocksize=1),
    old(9, "PRelu", "x", w(3, 1, 1)),
    old(18, "GroupNormalization", "x", w(3), w(3), num_groups=3),
    old(21, "GroupNormalization", "x", w(3), w(3), num_groups=1),
    old(23, "GroupNormalization", "x", w(3), w(3), num_groups=3),
]

AS_THEY_ARE = [
    old(9, "Conv", "x", w(4, 3, 3, 3), w(4), pads=[1, 0, 1, 2], strides=[2, 1]),
    old(9, "Conv", "x", w(3, 1, 3, 3), group=3, auto_pad="SAME_UPPER", strides=[2, 2]),
    old(9, "ConvTranspose", "x", w(3, 2, 2, 2), strides=[2, 2]),
    old(9, "ConvTranspose", "x", w(3, 2, 3, 3), strides=[2, 2], output_shape=[8, 12]),
    old(9, "MatMul", "x", w(6, 5)),
    old(9, "MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    old(10, "MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    old(10, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    old(9, "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    old(10, "AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    old(9, "InstanceNormalization", "x", w(3), w(3)),
    old(9, "LRN", size=3, alpha=0.4),
    old(9, "LpNormalization", axis=1),
    old(9, "HardSigmoid", alpha=0.3),
    old(9, "Selu"),
    old(9, "Elu", alpha=0.8),
    old(9, "LeakyRelu", alpha=0.2),
    old(10, "ThresholdedRelu", alpha=0.2),
    old(9, "Softplus"),
    old(9, "Erf"),
    old(9, "Sum", "x", w(6), "x"),
    old(9, "Max", "x", w(6)),
    old(9, "Pow", "x", floats(2)),
    old(9, "Where", w(4, 6) > 0, "x", w(6)),
    old(9, "Expand", "x", ints(1, 3, 4, 6)),
    old(9, "Tile", "x", ints(1, 1, 2, 1)),
    old(9, "Gather", "x", ints(2, 0), axis=1),
    old(9, "Concat", "x", "x", axis=1),
    old(9, "Flatten", axis=1),
    old(9, "Transpose", perm=[0, 2, 3, 1]),
    old(9, "Reshape", "x", ints(0, -1)),
    old(9, "GlobalMaxPool"),
    old(12, "Celu", alpha=0.6),
    old(12, "Einsum", "x", w(6, 2), equation="nchw,wk->nkch"),
    old(14, "HardSwish"),
    old(17, "LayerNormalization", "x", w(6), w(6)),
    old(18, "Mish"),
]

BEFORE_OPSET_9 = [
    old(7, "BatchNormalization", "x", *SAMPLE_STATISTICS, epsilon=1e-3),
    old(7, "BatchNormalization", "x", *SAMPLE_STATISTICS, spatial=1),
    old(7, "Upsample", scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"),
    old(8, "Upsample", scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    old(7, "Dropout", ratio=0.4),
    old(7, "Add", "x", w(3, 1, 1)),
    old(7, "Mul", w(4, 6), "x"),
    old(7, "PRelu", "x", w(3, 1, 1)),
    old(8, "Sum", "x", w(6), "x"),
    old(8, "Max", "x", w(6)),
    old(7, "MaxPool", kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
    old(8, "MaxPool", kernel_shape=[2, 2], storage_order=1),
    old(7, "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    old(7, "Conv", "x", w(4, 3, 3, 3), w(4), auto_pad="SAME_LOWER"),
    old(7, "Reshape", "x", ints(BATCH, -1)),
    old(8, "Expand", "x", ints(1, 3, 4, 6)),
    old(7, "Clip", min=-0.5, max=0.7),
]

FORMS = [*BEFORE_OPSET_9, *ATTRIBUTES_THAT_BECAME_OPERANDS, *OTHER_MEANINGS, *AS_THEY_ARE]


def as_written(form: Old) -> ModelProto:
    """image → operator → flatten → scores, at the form's own opset."""
    constants = {f"p{place}": value for place, value in enumerate(form.operands) if isinstance(value, np.ndarray)}
    names = ["image" if value == "x" else f"p{place}" if f"p{place}" in constants else "" for place, value in enumerate(
        "x" if isinstance(value, str) else None for value in form.operands
    )]  # fmt: skip
    outputs = [f"y{number}" for number in range(form.outputs)]
    nodes = [helper.make_node(form.operator, names, outputs, **form.attributes)]
    nodes += [helper.make_node("Flatten", [name], [f"{name}_flat"], axis=1) for name in outputs]
    nodes.append(helper.make_node("Concat", [f"{name}_flat" for name in outputs], ["scores"], axis=1))
    graph = helper.make_graph(
        nodes,
        "form",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [BATCH, *SHAPE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", form.opset)], ir_version=8)


def by_onnxruntime(model: ModelProto, batch: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])


def image_batch() -> Array:
    return np.random.default_rng(2).uniform(-2, 2, (BATCH, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_an_operator_s_older_form_keeps_its_meaning(form: Old) -> None:
    """ONNX Runtime runs the file as it was written; the engine differentiates what it became."""
    model = as_written(form)
    brought = free_batch(standardize(model, "scores"), BATCH)
    assert [entry.version for entry in brought.opset_import] == [OPSET]
    expected = by_onnxruntime(model, image_batch())
    np.testing.assert_allclose(by_onnxruntime(brought, image_batch()), expected, rtol=1e-5, atol=1e-5)
    ready = prepare(brought)
    np.testing.assert_allclose(by_onnxruntime(ready.forward, image_batch()), expected, rtol=1e-5, atol=1e-5)
    assert differentiate(ready, "input_gradient").graph.node


ANY_BATCH = [form for form in OTHER_MEANINGS if not any(np.array_equal(p, ints(BATCH, 3, 8, 9)) for p in form.operands)]


@pytest.mark.parametrize("form", ANY_BATCH, ids=str)
def test_an_older_form_keeps_its_meaning_without_an_import(form: Old) -> None:
    """A model that is differentiated as it is goes through the same passes as an imported file."""
    ready = prepare(as_written(form), logits=True)
    expected = by_onnxruntime(as_written(form), image_batch())
    np.testing.assert_allclose(by_onnxruntime(ready.forward, image_batch()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST + 1))
def test_every_opset_is_taken(opset: int) -> None:
    forms = [old(opset, "Conv", "x", w(4, 3, 3, 3), w(4)), old(opset, "Relu"), old(opset, "GlobalAveragePool")]
    for model in map(as_written, forms):
        found = evaluate(standardize(model, "scores"), {"image": image_batch()})["scores"]
        np.testing.assert_allclose(found, evaluate(model, {"image": image_batch()})["scores"], rtol=1e-5, atol=1e-6)


# Opset 21 gave GroupNormalization a scale per channel; the table has one per group.
STILL_WRITTEN_SO = [case for case in TABLE if case.operator != "GroupNormalization"]


@pytest.mark.parametrize("case", STILL_WRITTEN_SO, ids=str)
def test_every_case_of_the_table_is_taken_at_the_newest_opset(case: Case) -> None:
    model = ModelProto()
    model.CopyFrom(network(case))
    model.opset_import[0].version = NEWEST
    onnx.checker.check_model(model)
    batch = {"image": case_images(case, 2).astype(np.float32)}
    scores = model.graph.output[0].name
    found = evaluate(standardize(model, scores), batch)[scores]
    np.testing.assert_allclose(found, evaluate(network(case), batch)[scores], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("opset", "per"), [(18, "group"), (20, "group"), (21, "channel"), (NEWEST, "channel")])
def test_groups_are_normalized_as_their_opset_says(opset: int, per: str) -> None:
    """The scale is per group until opset 20, per channel since."""
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 5)).astype(np.float32)
    count = 3 if per == "group" else 6
    scale, shift = w(count), w(count, seed=1)
    graph = helper.make_graph(
        [
            helper.make_node("GroupNormalization", ["image", "scale", "shift"], ["y"], num_groups=3),
            helper.make_node("Flatten", ["y"], ["scores"]),
        ],
        "groups",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 6, 4, 5])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 120])],
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(shift, "shift")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    grouped = x.reshape(2, 3, -1)
    normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
    each = 2 if per == "group" else 1
    expected = normal.reshape(x.shape) * np.repeat(scale, each)[:, None, None] + np.repeat(shift, each)[:, None, None]
    ready = prepare(standardize(model, "scores"))
    np.testing.assert_allclose(by_onnxruntime(ready.forward, x).reshape(x.shape), expected, rtol=1e-4, atol=1e-5)
    assert {parameter.name for parameter in ready.other_parameters} == {"scale", "shift"}
