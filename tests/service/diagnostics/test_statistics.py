"""Noise scale, scores, shattering and comparison, each against numbers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.loss import probabilities
from service.contract.reference import ReferenceStatistics
from service.diagnostics import scores
from service.diagnostics.noise import estimates, left_out_groups, noise_scale
from service.diagnostics.schemas.gradients import NoiseScale
from service.diagnostics.shattering.measures import analyse
from service.diagnostics.shattering.verdict import bound_at, judge_path


def drawn(images: int, signal: float, noise: float, seed: int = 0, size: int = 400) -> NDArray[np.float64]:
    """Per-sample gradients with |G| = `signal` and trace of the covariance `noise`²."""
    random = np.random.default_rng(seed)
    mean = np.full(size, signal / np.sqrt(size))
    gradients: NDArray[np.float64] = mean + random.normal(size=(images, size)) * noise / np.sqrt(size)
    return gradients


def noise_of(gradients: NDArray[np.float64]) -> NoiseScale:
    kept = left_out_groups(len(gradients))
    return noise_scale(
        (gradients**2).sum(axis=1),
        float((gradients.mean(axis=0) ** 2).sum()),
        kept,
        [float((gradients[rows].mean(axis=0) ** 2).sum()) for rows in kept],
    )


def test_the_noise_estimates_are_unbiased() -> None:
    found = [
        estimates((g**2).sum(axis=1), float((g.mean(axis=0) ** 2).sum()))
        for g in (drawn(6, 2.0, 5.0, s) for s in range(600))
    ]
    signal, noise = np.mean(found, axis=0)
    assert signal == pytest.approx(4, rel=0.05)
    assert noise == pytest.approx(25, rel=0.05)


def test_the_interval_holds_the_true_noise_scale_most_of_the_time() -> None:
    inside = total = 0
    for seed in range(100):
        found = noise_of(drawn(32, 2.0, 5.0, seed))
        if found.state == "determined":
            assert found.low is not None
            assert found.high is not None
            total += 1
            inside += found.low <= 25 / 4 <= found.high
    assert total > 90
    assert inside / total > 0.85


def test_a_noise_scale_without_signal_is_undetermined() -> None:
    states = {noise_of(drawn(4, 0.0, 5.0, seed)).state for seed in range(20)}
    assert "undetermined" in states
    assert noise_of(drawn(2, 2.0, 1.0)).state == "undetermined"


LOGITS = np.array([[2.0, 1.0, -1.0], [0.0, 0.0, 3.0]])


def test_scores_follow_their_formulas() -> None:
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    labels = np.array([1, 2])
    assert scores.energy(LOGITS) == pytest.approx(np.log(np.exp(LOGITS).sum(axis=1)))
    assert scores.margin(LOGITS, labels) == pytest.approx([p[0, 1] - p[0, 0], p[1, 2] - p[1, 0]])
    assert scores.margin(LOGITS, np.array([-1, -1])) == pytest.approx([p[0, 0] - p[0, 1], p[1, 2] - p[1, 0]])
    assert scores.el2n(LOGITS, labels) == pytest.approx(np.linalg.norm(p - np.eye(3)[labels], axis=1))


def test_gradnorm_is_the_l1_norm_of_the_last_layers_gradient() -> None:
    features = np.random.default_rng(0).normal(size=(2, 5))
    p = probabilities(LOGITS)
    outer = np.abs(np.einsum("nk,nd->nkd", p - 1 / 3, features)).sum(axis=(1, 2))
    assert scores.gradnorm(LOGITS, features) == pytest.approx(outer)


def test_the_layer_norm_distance_is_mahalanobis_and_infinite_for_a_zero_norm() -> None:
    sizes = np.linalg.norm(probabilities(LOGITS) - np.eye(3)[LOGITS.argmax(axis=1)], axis=1)
    norms = {"logits": LOGITS, "weight_gradient_norm": np.exp([[3.0, 4.0], [0.0, 0.0]]) * sizes[:, None]}
    reference = ReferenceStatistics(np.zeros(2), np.eye(2))
    assert scores.layer_norm_distance(norms, reference) == pytest.approx([5.0, 0.0], abs=1e-9)
    norms["weight_gradient_norm"][1, 0] = 0
    assert np.isinf(scores.layer_norm_distance(norms, reference)[1])


@pytest.mark.parametrize("points", [32, 64, 256])
def test_white_noise_is_shattered_and_brownian_motion_smooth(points: int) -> None:
    white = np.random.default_rng(1).normal(size=(points, 1000))
    found = analyse(white)
    assert found.spectral_exponent == pytest.approx(0, abs=0.25)
    assert judge_path(found).state == "shattered"
    brown = np.cumsum(white, axis=0)
    found = analyse(brown / np.linalg.norm(brown, axis=1, keepdims=True))
    assert found.spectral_exponent == pytest.approx(2, abs=0.35)
    assert judge_path(found).state == "smooth"


@pytest.mark.parametrize("points", [16, 24, 32, 48, 64, 128, 256])
@pytest.mark.parametrize(("length", "state"), [(0.004, "shattered"), (0.03, "rough"), (0.08, "smooth")])
def test_the_verdict_on_a_gradient_does_not_depend_on_the_number_of_points(
    points: int, length: float, state: str
) -> None:
    """Gradients at a distance d on the path correlate as 1 / (1 + d/length)²."""
    t = np.linspace(0, 1, points)
    root = np.linalg.cholesky((1 + np.abs(t[:, None] - t) / length) ** -2.0)
    found = analyse(root @ np.random.default_rng(2).normal(size=(points, 5000)))
    assert judge_path(found).state == state


def test_a_bound_is_carried_over_and_the_usual_number_of_points_keeps_it() -> None:
    assert [bound_at(64, bound) for bound in (0.3, 0.5, 1.0)] == [0.3, 0.5, 1.0]
    for bound in (0.5, 1.0):
        carried = [bound_at(points, bound) for points in (16, 24, 32, 48, 64, 128, 256)]
        assert carried == sorted(carried)
        assert 0 < carried[0] < bound < carried[-1] < 2
    assert bound_at(16, -1.0) == -1.0, "no gradient of the model has it"
    assert bound_at(16, 5.0) == 5.0


def test_a_threshold_of_ones_own_is_one_for_the_usual_number_of_points() -> None:
    rough = analyse(np.random.default_rng(1).normal(size=(32, 1000)))
    assert judge_path(rough, 0.7).threshold == bound_at(32, 0.7) < 0.7


def test_a_zero_gradient_on_the_path_leaves_shattering_undetermined() -> None:
    gradients = np.random.default_rng(1).normal(size=(32, 10))
    gradients[3] = 0
    assert judge_path(analyse(gradients)).state == "undetermined"
