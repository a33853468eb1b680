"""Norms from squares: the range of float32 is not the range of gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract import norms
from service.contract.loss import logit_gradients, loss_labels, losses
from service.contract.norms import measure
from service.contract.outputs import Output

Array = NDArray[Any]


def graph_of(gradients: Array, calls: list[Array] | None = None) -> Callable[[Array], Mapping[str, Array]]:
    """A graph whose weight gradients are these single numbers [N, L]: scales them and squares them in float32."""

    def run(scale: Array) -> Mapping[str, Array]:
        if calls is not None:
            calls.append(scale)
        with np.errstate(over="ignore", under="ignore"):
            scaled = gradients.astype(np.float32) * scale[:, None]
            return {"weight_square": scaled * scaled, "batch_square": scaled.sum(axis=0) ** 2}

    return run


def per_sample(gradients: Array, calls: list[Array] | None = None) -> Callable[[Array], Mapping[str, Array]]:
    run = graph_of(gradients, calls)
    return lambda scale: {"weight_square": run(scale)["weight_square"]}


def test_ordinary_gradients_take_one_run() -> None:
    calls: list[Array] = []
    measure(per_sample(np.array([[1.0, 1e-12], [1e12, 3.0]]), calls), 2)
    assert len(calls) == 1


@pytest.mark.parametrize("exponent", [-36, -30, -25, -20, -14, -13, 0, 12, 20, 30, 37])
def test_a_norm_keeps_six_digits_wherever_float32_holds_the_gradient(exponent: int) -> None:
    gradients = np.array([[1.234567 * 10.0**exponent, 1.0]])
    assert measure(per_sample(gradients), 1)["weight_gradient_norm"] == pytest.approx(gradients, rel=1e-6)


def test_tiny_and_huge_layers_of_one_sample_are_each_taken_at_the_scale_that_fits() -> None:
    gradients = np.array([[7e-36, 1e-20, 1.0, 1e20, 1e37]])
    assert measure(per_sample(gradients), 1)["weight_gradient_norm"] == pytest.approx(gradients, rel=1e-6)


def test_a_sample_keeps_its_bits_whatever_its_neighbours_need() -> None:
    alone = np.array([[0.1, 0.7, 1.9]])
    neighbours = np.array([[0.1, 0.7, 1.9], [1e-30, 0.0, 1.0], [1e30, 1.0, np.nan], [np.inf, 2.0, 3.0]])
    expected = measure(per_sample(alone), 1)["weight_gradient_norm"][0]
    together = measure(per_sample(neighbours), 4)["weight_gradient_norm"]
    assert np.array_equal(together[0], expected)
    assert np.isnan(together[2, 2])
    assert np.isinf(together[3, 0])
    assert together[2, 0] == pytest.approx(1e30, rel=1e-6)


def test_zero_at_the_largest_scale_is_zero() -> None:
    assert measure(per_sample(np.array([[0.0, 1.0]])), 1)["weight_gradient_norm"].tolist() == [[0.0, 1.0]]


def test_the_batch_norm_is_of_the_mean_and_takes_one_common_scale() -> None:
    calls: list[Array] = []
    gradients = np.array([[1e-20, 1.0], [3e-20, -3.0]])
    results = measure(graph_of(gradients, calls), 2)
    assert results["batch_gradient_norm"] == pytest.approx([2e-20, 1.0], rel=1e-6)
    assert all(len(set(scale.tolist())) == 1 for scale in calls)


def test_an_input_gradient_below_float32_squares_comes_back_in_float64() -> None:
    gradient = np.full((2, 3, 4, 4), 1e-30)
    gradient[1] = 1.0

    def run(scale: Array) -> Mapping[str, Array]:
        return {"input_gradient": (gradient * scale[:, None, None, None]).astype(np.float32)}

    assert measure(run, 2)["input_gradient"] == pytest.approx(gradient, rel=1e-6)


def test_a_square_of_the_sample_alone_is_measured_sample_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Output("total_square", ("weight_norms",), ("N",), "square", "total_gradient_norm")
    monkeypatch.setitem(norms.SCALED, row.name, row)
    gradient = np.array([1e-30, 1.0, 1e30])

    def run(scale: Array) -> Mapping[str, Array]:
        with np.errstate(over="ignore", under="ignore"):
            return {"total_square": (gradient.astype(np.float32) * scale) ** 2}

    found = measure(run, 3)["total_gradient_norm"]
    assert found.shape == (3,)
    assert found == pytest.approx(gradient, rel=1e-6)
    assert found[1] == 1.0


def test_any_gradient_of_the_table_is_measured_as_the_input_gradient_is(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Output("feature_gradient", ("input_gradient",), ("N", "D"), "gradient", "feature_gradient")
    monkeypatch.setitem(norms.SCALED, row.name, row)
    gradient = np.array([[1e-30, 3e-30], [1.0, 2.0]])
    found = measure(lambda scale: {"feature_gradient": (gradient * scale[:, None]).astype(np.float32)}, 2)
    assert found["feature_gradient"] == pytest.approx(gradient, rel=1e-6)


def test_a_confident_loss_keeps_its_digits() -> None:
    logits, label = np.array([[50.0, 0.0, 10.0]], np.float32), np.array([0])
    expected = np.exp(-50.0) + np.exp(-40.0)
    assert losses(logits, label)[0] == pytest.approx(expected, rel=1e-12)
    assert -logit_gradients(logits, label)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_losses_agree_with_the_plain_formula() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 7)) * 3
    labels = np.arange(20) % 7
    plain = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(20), labels]
    assert losses(logits, labels) == pytest.approx(plain, rel=1e-12)


def test_minus_one_takes_the_predicted_class() -> None:
    logits = np.array([[0.0, 2.0], [3.0, 1.0]])
    assert loss_labels(logits, np.array([-1, 1])).tolist() == [1, 1]


def test_an_explanation_that_was_not_asked_for_wants_no_other_scale() -> None:
    scales: list[Array] = []

    def run(scale: Array) -> Mapping[str, Array]:
        scales.append(scale)
        return {"layer_evidence": np.zeros((2, 0), np.float32), "logit_gradient": scale[:, None] * np.float32(3e-30)}

    found = measure(run, 2)
    assert found["layer_evidence"].shape == (2, 0)
    assert found["logit_gradient"] == pytest.approx(np.full((2, 1), 3e-30), rel=1e-6)
    assert len(scales) == 3
    scales.clear()
    measure(lambda scale: {"layer_evidence": run(scale)["layer_evidence"]}, 2)
    assert len(scales) == 1
