"""Both kinds of labels: probabilities, losses, and the labels that a loss is taken for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from service.contract.label_kinds import EXCLUSIVE, INDEPENDENT, LabelKind, kind_called

LOGITS = np.array([[3.0, -1.0, 0.5], [-40.0, 50.0, -60.0], [0.0, 2.0, -2.0]], np.float32)


def test_each_kind_has_its_name() -> None:
    assert kind_called("exclusive") is EXCLUSIVE
    assert kind_called("independent") is INDEPENDENT


def test_independent_losses_are_torch_s() -> None:
    labels = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]])
    expected = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(LOGITS.astype(np.float64)), torch.from_numpy(labels.astype(np.float64)), reduction="none"
    ).sum(1)
    np.testing.assert_allclose(INDEPENDENT.losses(LOGITS, labels), expected.numpy(), rtol=1e-12, atol=1e-17)
    # What is far below float64's resolution of 1 is kept, which torch loses: e⁻⁴⁰ + e⁻⁵⁰ + e⁻⁶⁰.
    assert INDEPENDENT.losses(LOGITS, labels)[1] == pytest.approx(np.exp([-40, -50, -60]).sum(), rel=1e-12, abs=0)
    np.testing.assert_allclose(INDEPENDENT.likelihoods(LOGITS, labels), np.exp(-expected.numpy()), rtol=1e-12)


@pytest.mark.parametrize("kind", [EXCLUSIVE, INDEPENDENT])
def test_the_gradient_s_norm_is_that_of_central_differences(kind: LabelKind) -> None:
    logits, step = LOGITS.astype(np.float64)[[0, 2]], 1e-6
    labels = kind.settled(logits, kind.none_given(2, 3))
    slopes = np.empty_like(logits)
    for column in range(3):
        ends = [logits + sign * step * np.eye(3)[column] for sign in (1, -1)]
        slopes[:, column] = (kind.losses(ends[0], labels) - kind.losses(ends[1], labels)) / (2 * step)
    np.testing.assert_allclose(kind.logit_gradient_norms(logits, labels), np.linalg.norm(slopes, axis=1), rtol=1e-6)


@pytest.mark.parametrize("kind", [EXCLUSIVE, INDEPENDENT])
def test_served_probabilities_are_the_exact_ones_in_float32(kind: LabelKind) -> None:
    with_nan = np.vstack([LOGITS, np.full(3, np.nan, np.float32)])
    served = kind.served_probabilities(with_nan)
    assert served.dtype == np.float32
    np.testing.assert_allclose(served[:3], kind.probabilities(LOGITS), rtol=1e-5, atol=1e-37)
    assert np.isnan(served[3]).all()


def test_labels_that_are_not_given_are_as_predicted() -> None:
    assert INDEPENDENT.settled(LOGITS, INDEPENDENT.none_given(3, 3)).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    partly = np.array([[0, -1, -1], [-1, -1, 1], [-1, -1, -1]])
    assert INDEPENDENT.settled(LOGITS, partly).tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 0]]
    assert INDEPENDENT.are_given(partly).tolist() == [True, True, False]
    assert EXCLUSIVE.settled(LOGITS, np.array([-1, 2, -1])).tolist() == [0, 2, 1]


@pytest.mark.parametrize("kind", [EXCLUSIVE, INDEPENDENT])
def test_a_confident_network_has_a_large_gradient_for_its_runner_up(kind: LabelKind) -> None:
    assert (kind.logit_gradient_norms(LOGITS, kind.runner_up(LOGITS)) >= 0.5).all()
