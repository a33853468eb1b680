"""Every norm of a whole network held to central differences in float64, and ONNX Runtime's float32 held to float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from export.gradient import Prepared, differentiate
from export.running.reference import evaluate
from tests.export.gradient.rules import runner
from tests.export.gradient.rules.oracles import directional_derivative, numerical_gradient
from tests.export.gradient.rules.runner import runtime

OUTPUTS = (*runner.OUTPUTS, "activation_square")

Values = Mapping[str, np.ndarray]


def feeds(image: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    return {"input": image, "label": label[: len(image)], "cotangent_scale": np.ones(len(image), image.dtype)}


def exact_norms(
    model: onnx.ModelProto,
    ready: Prepared,
    image: np.ndarray,
    label: np.ndarray,
    weights: Sequence[str],
    biases: Sequence[str],
) -> Values:
    """Return the outputs in float64, after all norms have been found to be those of central differences.

    Args:
        model: the float64 graph that `ready` was prepared from.
        weights, biases: the graph's names of the parameters, in the order of the outputs' columns.
    """
    exact = evaluate(differentiate(ready, OUTPUTS), feeds(image, label))
    direction = np.random.default_rng(2).normal(size=image.shape)
    projected = (exact["input_gradient"] * direction).reshape(len(image), -1).sum(axis=1)
    np.testing.assert_allclose(projected, directional_derivative(model, image, label, direction), rtol=1e-6, atol=1e-9)

    def gradient(parameter: str) -> np.ndarray:
        return numerical_gradient(model, parameter, image, label).reshape(len(image), -1)

    for column, weight in enumerate(weights):
        found = gradient(weight)
        np.testing.assert_allclose(exact["weight_square"][:, column], np.square(found).sum(1), rtol=1e-5, atol=1e-15)
        np.testing.assert_allclose(exact["batch_square"][column], np.square(found.sum(0)).sum(), rtol=1e-5, atol=1e-15)
    for output, parameters in (
        ("bias_square", biases),
        ("other_square", [other.name for other in ready.other_parameters]),
    ):
        for column, parameter in enumerate(parameters):
            squares = np.square(gradient(parameter)).sum(1)
            np.testing.assert_allclose(exact[output][:, column], squares, rtol=1e-5, atol=1e-15)
    return exact


def assert_float32_agrees(single: Prepared, image: np.ndarray, label: np.ndarray, exact: Values) -> None:
    """Check that ONNX Runtime's float32 gives the outputs of `exact`."""
    session = runtime(differentiate(single, OUTPUTS))
    values = session.run(OUTPUTS, feeds(image.astype(np.float32), label))
    for output, value in zip(OUTPUTS, values, strict=True):
        scale = np.abs(exact[output]).max(initial=0)
        np.testing.assert_allclose(value, exact[output], rtol=2e-4, atol=1e-5 * scale + 1e-12, err_msg=output)
