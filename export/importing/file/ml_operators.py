"""Operators of `ai.onnx.ml` at the end of a classifier, written as ONNX's own: linear classifiers and scalings.

Converters of scikit-learn and its like write them. Trees, support vectors and their kin have no such form, and are
refused where they are met.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.graph.attributes import attributes_of

ML = "ai.onnx.ml"
TRANSFORMS = {"NONE": "Identity", "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
AXIS: dict[str, Any] = {"Softmax": {"axis": 1}}
NORMS = {"L1": 1, "L2": 2}

Written = tuple[list[NodeProto], dict[str, np.ndarray]]
"""The nodes that stand for one, and the constants that they read, by name."""


def with_standard_operators(model: ModelProto) -> ModelProto:
    """Return `model` with the operators of ai.onnx.ml that are in `RULES` written as standard ones.

    A node whose attributes have no such form stays as it is.
    """
    if all(node.domain != ML for node in model.graph.node):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in model.graph.node:
        rule = RULES.get(node.op_type) if node.domain == ML else None
        written = rule(node, attributes_of(node)) if rule else None
        if written is None:
            nodes.append(node)
            continue
        nodes += written[0]
        copy.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in written[1].items())
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def linear_classifier(node: NodeProto, attributes: dict[str, Any]) -> Written | None:
    """Z = f(X·Wᵀ + b) with one row of W for every class; only the scores are written, not the label."""
    coefficients = np.asarray(attributes["coefficients"], np.float32)
    labels = attributes.get("classlabels_strings") or attributes.get("classlabels_ints") or []
    intercepts = np.asarray(attributes.get("intercepts") or np.zeros(len(labels)), np.float32)
    last = TRANSFORMS.get(attributes.get("post_transform", "NONE"))
    if last is None or len(labels) != len(intercepts) or not labels or coefficients.size % len(labels):
        return None
    name = node.name or "linear"
    weight, bias, scores = f"{name}.weight", f"{name}.bias", f"{node.output[1]}/linear"
    floats = f"{node.input[0]}/{name}/float"
    nodes = [
        helper.make_node("Cast", [node.input[0]], [floats], f"{name}/cast", to=TensorProto.FLOAT),
        helper.make_node("Gemm", [floats, weight, bias], [scores], name, transB=1),
        helper.make_node(last, [scores], [node.output[1]], f"{name}/{last}", **AXIS.get(last, {})),
    ]
    return nodes, {weight: coefficients.reshape(len(labels), -1), bias: intercepts}


def normalizer(node: NodeProto, attributes: dict[str, Any]) -> Written | None:
    order = NORMS.get(attributes.get("norm", "MAX"))
    if order is None:
        return None
    return [helper.make_node("LpNormalization", node.input, node.output, node.name, axis=-1, p=order)], {}


def scaler(node: NodeProto, attributes: dict[str, Any]) -> Written:
    """(X − offset)·scale."""
    name = node.name or node.output[0]
    values = {
        f"{name}/{key}": np.asarray(attributes.get(key) or [fallback], np.float32)
        for key, fallback in (("offset", 0.0), ("scale", 1.0))
    }
    offset, scale = values
    shifted, floats = f"{name}/shifted", f"{name}/float"
    return [
        helper.make_node("Cast", [node.input[0]], [floats], f"{name}/cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", [floats, offset], [shifted], f"{name}/sub"),
        helper.make_node("Mul", [shifted, scale], node.output, f"{name}/mul"),
    ], values


RULES: dict[str, Callable[[NodeProto, dict[str, Any]], Written | None]] = {
    "LinearClassifier": linear_classifier,
    "Normalizer": normalizer,
    "Scaler": scaler,
}
