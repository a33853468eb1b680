"""Loops of a known number of steps: unrolled, they answer as the operator itself; others are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from export.gradient import UnsupportedOperator, prepare
from export.importing import import_classifier
from tests.export.gradient.cases.case import w
from tests.export.gradient.rules.runner import runtime
from tests.export.importing.graphs import SIZE, classifier, images, node, options, saved


def body(nodes: list[NodeProto], inputs: dict[str, int], outputs: dict[str, int], **stored: Any) -> GraphProto:
    def values(named: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, kind, None if kind == FLOAT else []) for name, kind in named.items()
        ]

    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    return helper.make_graph(nodes, "body", values(inputs), values(outputs), tensors)


FLOAT, WHOLE, TRUTH = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
REPEATED = body(
    [
        node("MatMul", ["h", "shared.weight"], ["mixed"]),
        node("Mul", ["mixed", "damping"], ["damped"]),
        node("Tanh", ["damped"], ["next"]),
        node("Identity", ["next"], ["kept"]),
        node("Less", ["step", "last"], ["goes on"]),
    ],
    {"step": WHOLE, "going": TRUTH, "h": FLOAT},
    {"goes on": TRUTH, "next": FLOAT, "kept": FLOAT},
    damping=np.array(0.7, np.float32),
    last=np.array(3),
)
SUMMED = body(
    [node("Add", ["total", "row"], ["more"]), node("Tanh", ["more"], ["next"]), node("Neg", ["next"], ["row out"])],
    {"total": FLOAT, "row": FLOAT},
    {"next": FLOAT, "row out": FLOAT},
)
FEATURES = [node("ReduceMean", ["image"], ["features"], axes=[2, 3], keepdims=0)]
LOOP = [
    *FEATURES,
    node("Loop", ["count", "true", "features"], ["h", "states"], "loop", body=REPEATED),
    node("ReduceSum", ["states", "first"], ["sum"], keepdims=0),
    node("Add", ["h", "sum"], ["found"]),
    node("MatMul", ["found", "last.weight"], ["scores"], "last"),
]
CONSTANTS = {
    "count": np.array(3),
    "true": np.array(True),
    "first": np.array([0]),
    "zero": np.zeros((1, 3), np.float32),
    "shared.weight": w(3, 3),
    "last.weight": w(3, 4),
}


def scanned(**directions: Any) -> list[NodeProto]:
    return [
        node("ReduceMean", ["image"], ["rows"], axes=[3], keepdims=0),
        node("ReduceMean", ["rows"], ["initial"], axes=[2], keepdims=0),
        node("Scan", ["initial", "rows"], ["total", "out"], "scan", body=SUMMED, num_scan_inputs=1,
             scan_input_axes=[2], scan_output_axes=[1], **directions),
        node("Gather", ["out", "one"], ["second"], axis=1),
        node("Add", ["total", "second"], ["found"]),
        node("MatMul", ["found", "last.weight"], ["scores"], "last"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "changes"),
    [
        (LOOP, {}),
        (LOOP, {"count": np.array(9)}),
        (scanned(), {"one": np.array(1)}),
        (scanned(scan_input_directions=[1], scan_output_directions=[1]), {"one": np.array(1)}),
    ],
    ids=["count", "condition", "scan", "scan backwards"],
)
def test_unrolled_it_answers_as_the_file(nodes: list[NodeProto], changes: dict[str, Any], tmp_path: Path) -> None:
    model = classifier(nodes, constants=CONSTANTS | changes, opset=17)
    imported = import_classifier(saved(model, tmp_path), options())
    (own,) = runtime(model).run(None, {"image": images(3)})
    (found,) = runtime(imported.model).run(None, {"input": images(3)})
    np.testing.assert_allclose(found, own, rtol=1e-5)


def test_a_weight_that_every_step_reads_is_one_layer(tmp_path: Path) -> None:
    model = classifier(LOOP, constants=CONSTANTS, opset=17)
    imported = import_classifier(saved(model, tmp_path), options())
    layers = prepare(imported.model, constants=imported.constants, logits=True).layers
    assert {layer.name: layer.uses for layer in layers} == {"shared": 3, "last": 1}


@pytest.mark.parametrize("as_nodes", [False, True], ids=["initializers", "Constant nodes"])
def test_what_a_body_stores_is_trained_as_what_lies_outside(as_nodes: bool, tmp_path: Path) -> None:
    stored = {"inner.weight": w(3, 3), "inner.bias": w(3)}
    nodes = [
        node("MatMul", ["h", "inner.weight"], ["mixed"]),
        node("Add", ["mixed", "inner.bias"], ["added"]),
        node("Tanh", ["added"], ["next"]),
        node("Identity", ["going"], ["goes on"]),
    ]
    if as_nodes:
        nodes[:0] = [node("Constant", [], [name], value=numpy_helper.from_array(v)) for name, v in stored.items()]
        stored = {}
    steps = body(nodes, {"step": WHOLE, "going": TRUTH, "h": FLOAT}, {"goes on": TRUTH, "next": FLOAT}, **stored)
    loop = [
        *FEATURES,
        node("Loop", ["count", "true", "features"], ["h"], "loop", body=steps),
        node("MatMul", ["h", "last.weight"], ["scores"], "last"),
    ]
    imported = import_classifier(saved(classifier(loop, constants=CONSTANTS, opset=17), tmp_path), options())
    layers = prepare(imported.model, constants=imported.constants, logits=True).layers
    assert [(layer.name, layer.uses, layer.bias) for layer in layers] == [("inner", 3, True), ("last", 1, False)]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ([node("ReduceMax", ["image"], ["largest"]), node("Cast", ["largest"], ["count"], to=WHOLE)], "the image"),
        ([node("Shape", ["image"], ["sizes"]), node("Gather", ["sizes", "nought"], ["count"])], "the batch size"),
    ],
    ids=["image", "batch"],
)
def test_what_decides_otherwise_is_named(extra: list[NodeProto], reason: str, tmp_path: Path) -> None:
    constants = {name: value for name, value in CONSTANTS.items() if name != "count"} | {"nought": np.array(0)}
    model = classifier([*extra, *LOOP], constants=constants, opset=17, image=("N", 3, SIZE, SIZE))
    with pytest.raises(UnsupportedOperator, match=rf"Loop \(node 'loop'\): {reason} decides how often it runs"):
        import_classifier(saved(model, tmp_path), options())
