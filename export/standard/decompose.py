"""Operators that are rewritten as others, because double precision or CUDA lacks them.

Celu                 α·Elu(x/α)
GroupNormalization   InstanceNormalization of groups, as opset 18 defines it: scale and shift per group
Gemm with transA     Transpose, Gemm
MeanVarianceNormalization   (x − mean)/(deviation + 1e-9)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graph.attributes import attribute_of, attributes_of
from export.graph.names import OWN
from export.standard.written import Written

Rewrite = Callable[[onnx.NodeProto, dict[str, Any]], list[onnx.NodeProto]]


def decompose(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy without the operators above; the model itself where it has none."""
    if not any(_is_rewritten(node) for node in model.graph.node):
        return model
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    del rewritten.graph.node[:]
    for node in model.graph.node:
        if _is_rewritten(node):
            rewritten.graph.node.extend(REWRITES[node.op_type](node, attributes_of(node)))
        else:
            rewritten.graph.node.append(node)
    return rewritten


def _is_rewritten(node: onnx.NodeProto) -> bool:
    return node.op_type in REWRITES and (node.op_type != "Gemm" or bool(attribute_of(node, "transA", 0)))


def _celu(node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    stem, (x,), (y,) = node.output[0], node.input, node.output
    alpha = np.array(given.get("alpha", 1.0), dtype=np.float32)
    return [
        helper.make_node(
            "Constant", [], [f"{stem}{OWN}alpha"], f"{stem}{OWN}alpha", value=numpy_helper.from_array(alpha)
        ),
        helper.make_node("Div", [x, f"{stem}{OWN}alpha"], [f"{stem}{OWN}scaled"], f"{stem}/Div"),
        helper.make_node("Elu", [f"{stem}{OWN}scaled"], [f"{stem}{OWN}bent"], f"{stem}/Elu"),
        helper.make_node("Mul", [f"{stem}{OWN}bent", f"{stem}{OWN}alpha"], [y], f"{stem}/Mul"),
    ]


def _group_normalization(node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    stem, (x, scale, shift), (y,) = node.output[0], node.input, node.output
    grouped = numpy_helper.from_array(np.array([0, given["num_groups"], -1], dtype=np.int64))
    return [
        helper.make_node("Constant", [], [f"{stem}{OWN}groups"], f"{stem}{OWN}groups", value=grouped),
        helper.make_node("Reshape", [x, f"{stem}{OWN}groups"], [f"{stem}{OWN}grouped"], f"{stem}/Group"),
        helper.make_node(
            "InstanceNormalization",
            [f"{stem}{OWN}grouped", scale, shift],
            [f"{stem}{OWN}normalized"],
            f"{stem}/InstanceNormalization",
            epsilon=given.get("epsilon", 1e-5),
        ),
        helper.make_node("Shape", [x], [f"{stem}{OWN}shape"], f"{stem}/Shape"),
        helper.make_node("Reshape", [f"{stem}{OWN}normalized", f"{stem}{OWN}shape"], [y], f"{stem}/Ungroup"),
    ]


def _gemm(node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    stem, (a, *others) = node.output[0], node.input
    kept = {name: value for name, value in given.items() if name != "transA"}
    return [
        helper.make_node("Transpose", [a], [f"{stem}{OWN}transposed"], f"{stem}/Transpose", perm=[1, 0]),
        helper.make_node("Gemm", [f"{stem}{OWN}transposed", *others], node.output, node.name, **kept),
    ]


def _mean_variance_normalization(node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    w, x = Written(node), node.input[0]
    axes = w.constant(list(given.get("axes", [0, 2, 3])))
    centred = w.add("Sub", x, w.add("ReduceMean", x, axes, keepdims=1))
    variance = w.add("ReduceMean", w.add("Mul", centred, centred), axes, keepdims=1)
    deviation = w.add("Add", w.add("Sqrt", variance), w.constant(1e-9))
    w.give(w.add("Div", centred, deviation))
    return w.nodes


REWRITES: dict[str, Rewrite] = {
    "Celu": _celu,
    "GroupNormalization": _group_normalization,
    "Gemm": _gemm,
    "MeanVarianceNormalization": _mean_variance_normalization,
}
