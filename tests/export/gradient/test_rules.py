"""Every rule, by two oracles: central differences in float64, and float32 on ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from export.gradient import differentiate, prepare, registry

from .cases import Case
from .oracles import directional_derivative, evaluate, images, in_double, network, numerical_gradient
from .table import TABLE

OUTPUTS = ("logits", "weight_square", "bias_square", "other_square", "batch_square", "input_gradient")
BATCH = 3


def feeds(case: Case, precision: type) -> dict[str, np.ndarray]:
    image = images(case, BATCH).astype(precision)
    return {"input": image, "label": np.array([0, 2, -1]), "cotangent_scale": np.ones(BATCH, dtype=precision)}


def labels(logits: np.ndarray) -> np.ndarray:
    return np.array([0, 2, logits[2].argmax()])


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_gradients_agree_with_central_differences_in_float64(case: Case) -> None:
    forward = in_double(case)
    prepared = prepare(forward)
    given = feeds(case, np.float64)
    found = evaluate(differentiate(prepared, OUTPUTS), given)
    label = labels(found["logits"])

    direction = np.random.default_rng(3).normal(size=given["input"].shape)
    projected = (found["input_gradient"] * direction).reshape(BATCH, -1).sum(axis=1)
    expected = directional_derivative(forward, given["input"], label, direction)
    np.testing.assert_allclose(projected, expected, rtol=1e-6, atol=1e-9)

    biases = [layer.name for layer in prepared.layers if layer.bias]
    for index, layer in enumerate(prepared.layers):
        if layer.name.startswith("head"):  # the linear layers behind the operator have cases of their own
            continue
        gradient = numerical_gradient(forward, f"{layer.name}.weight", given["input"], label)
        np.testing.assert_allclose(
            found["weight_square"][:, index], np.square(gradient).reshape(BATCH, -1).sum(1), rtol=1e-5, atol=1e-15
        )
        np.testing.assert_allclose(
            found["batch_square"][index], np.square(gradient.sum(0)).sum(), rtol=1e-5, atol=1e-15
        )
        if layer.bias:
            gradient = numerical_gradient(forward, "p2.weight", given["input"], label)
            square = np.square(gradient).reshape(BATCH, -1).sum(1)
            np.testing.assert_allclose(found["bias_square"][:, biases.index(layer.name)], square, rtol=1e-5, atol=1e-15)
    for index, other in enumerate(prepared.other_parameters):
        gradient = numerical_gradient(forward, other.name, given["input"], label)
        square = np.square(gradient).reshape(BATCH, -1).sum(1)
        np.testing.assert_allclose(found["other_square"][:, index], square, rtol=1e-5, atol=1e-15)


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_float32_on_onnx_runtime_agrees_with_float64(case: Case) -> None:
    exact = evaluate(differentiate(prepare(in_double(case)), OUTPUTS), feeds(case, np.float64))
    model = differentiate(prepare(network(case)), OUTPUTS)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, feeds(case, np.float32)), strict=True))
    for name, value in found.items():
        scale = np.abs(exact[name]).max(initial=0)
        np.testing.assert_allclose(value, exact[name], rtol=1e-4, atol=1e-5 * scale + 1e-12, err_msg=name)


def test_every_rule_has_a_case() -> None:
    assert {case.operator for case in TABLE} >= set(registry.operators_with_rules())
