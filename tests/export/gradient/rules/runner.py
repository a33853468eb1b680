"""The assertions about one case, from the table or drawn."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime

from export.gradient import differentiate, prepare
from export.running.reference import evaluate
from tests.export.gradient.cases.case import Case
from tests.export.gradient.rules.oracles import directional_derivative, images, in_double, network, numerical_gradient

PER_SAMPLE = ("logits", "weight_square", "scaled_square", "bias_square", "other_square", "input_gradient")
OUTPUTS = (*PER_SAMPLE, "batch_square")
BATCH = 3
LABELS = (0, 2, -1)


def feeds(case: Case, precision: type[np.floating[Any]]) -> dict[str, np.ndarray]:
    """A batch of the case's images, with the label of one sample left to the prediction."""
    image = images(case, BATCH).astype(precision)
    return {"input": image, "label": np.array(LABELS), "cotangent_scale": np.ones(BATCH, dtype=precision)}


@lru_cache(maxsize=4)
def session_of(case: Case) -> onnxruntime.InferenceSession:
    """The case's gradient graph in float32 on ONNX Runtime."""
    return runtime(differentiate(prepare(network(case)), OUTPUTS))


def runtime(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The graph on ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=4)
def exact_answers(case: Case) -> dict[str, np.ndarray]:
    """The case's gradient graph in float64 in onnx's reference evaluator."""
    return evaluate(differentiate(prepare(in_double(case)), OUTPUTS), feeds(case, np.float64))


def run(session: onnxruntime.InferenceSession, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(OUTPUTS, session.run(OUTPUTS, given), strict=True))


def assert_agrees_with_central_differences(case: Case) -> None:
    """In float64: dx along a random direction, and the norm of every parameter's gradient."""
    forward = in_double(case)
    prepared, found, given = prepare(forward), exact_answers(case), feeds(case, np.float64)
    label = np.array([*LABELS[:2], found["logits"][2].argmax()])

    direction = np.random.default_rng(3).normal(size=given["input"].shape)
    projected = (found["input_gradient"] * direction).reshape(BATCH, -1).sum(axis=1)
    expected = directional_derivative(forward, given["input"], label, direction)
    np.testing.assert_allclose(projected, expected, rtol=1e-6, atol=1e-9)

    def assert_square(square: np.ndarray, parameter: str) -> np.ndarray:
        gradient = numerical_gradient(forward, parameter, given["input"], label)
        np.testing.assert_allclose(square, np.square(gradient).reshape(BATCH, -1).sum(1), rtol=1e-5, atol=1e-15)
        return gradient

    biases = [layer.name for layer in prepared.layers if layer.bias]
    for index, layer in enumerate(prepared.layers):
        gradient = assert_square(found["weight_square"][:, index], f"{layer.name}.weight")
        np.testing.assert_allclose(
            found["batch_square"][index], np.square(gradient.sum(0)).sum(), rtol=1e-5, atol=1e-15
        )
        if layer.bias:
            assert_square(found["bias_square"][:, biases.index(layer.name)], "p2.weight")
    for index, other in enumerate(prepared.other_parameters):
        assert_square(found["other_square"][:, index], other.name)


def assert_float32_agrees_with_float64(case: Case) -> None:
    """On ONNX Runtime, to 1e-4 of every norm and of the largest entry of every gradient."""
    exact = exact_answers(case)
    found = run(session_of(case), feeds(case, np.float32))
    for name, value in found.items():
        scale = np.abs(exact[name]).max(initial=0)
        np.testing.assert_allclose(value, exact[name], rtol=1e-4, atol=1e-5 * scale + 1e-12, err_msg=name)


def assert_samples_do_not_mix(case: Case) -> None:
    """A sample answers the same alone and beside a tensor of NaN, bit for bit but for the order of sums."""
    session, given = session_of(case), feeds(case, np.float32)
    given["input"][1] = np.nan
    beside = run(session, given)
    for sample in (0, 2):
        alone = run(session, {name: value[sample : sample + 1] for name, value in given.items()})
        for name in PER_SAMPLE:
            expected = alone[name][0]
            tolerance = 1e-6 * np.abs(expected).max(initial=0)
            np.testing.assert_allclose(beside[name][sample], expected, rtol=1e-6, atol=tolerance, err_msg=name)
