"""Flips, McNemar's test and the calibration error, against scipy and against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from service.diagnostics.versions.calibration import BINS, Calibration
from service.diagnostics.versions.flips import Flips
from service.diagnostics.versions.intervals import paired_difference, share_of, wilson
from service.diagnostics.versions.mcnemar import mcnemar


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (5, 5), (3, 40), (20, 2000), (1999, 2000)])
def test_the_interval_of_a_share_is_that_of_scipy(hits: int, of: int) -> None:
    expected = stats.binomtest(hits, of).proportion_ci(method="wilson")
    assert wilson(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_share_of_nothing_is_unknown() -> None:
    assert share_of(0, 0) is None
    assert paired_difference(0, 0, 0) is None
    assert Flips().found() is None
    assert Calibration().found() is None


@pytest.mark.parametrize(("negative", "positive"), [(0, 0), (1, 0), (0, 9), (12, 3), (500, 500), (450, 550)])
def test_few_changes_are_tested_by_the_binomial_test(negative: int, positive: int) -> None:
    found = mcnemar(negative, positive)
    expected = stats.binomtest(negative, negative + positive).pvalue if negative + positive else 1.0
    assert found.method == "exact"
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("negative", "positive"), [(500, 501), (700, 600), (4000, 3000)])
def test_many_changes_are_tested_by_chi_square(negative: int, positive: int) -> None:
    found = mcnemar(negative, positive)
    statistic = (abs(negative - positive) - 1) ** 2 / (negative + positive)
    assert found.method == "chi-square"
    assert found.p_value == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-9)
    exact = stats.binomtest(negative, negative + positive).pvalue
    assert found.p_value == pytest.approx(exact, rel=0.05), "the two forms meet where they change over"


def test_the_interval_of_a_paired_difference_keeps_its_promise() -> None:
    """Of 95 % intervals about 19 in 20 hold the truth, with few changes among many images."""
    draw, images, gained, lost = np.random.default_rng(3), 2000, 0.004, 0.01
    inside = 0
    for _ in range(2000):
        more, less, _ = draw.multinomial(images, (gained, lost, 1 - gained - lost))
        found = paired_difference(int(more), int(less), images)
        assert found is not None
        inside += found.low <= gained - lost <= found.high
    assert 0.93 <= inside / 2000 <= 0.98


def test_flips_are_counted_by_kind() -> None:
    flips = Flips()
    for before, now, times in ((True, True, 5), (True, False, 2), (False, True, 3), (False, False, 4)):
        for _ in range(times):
            flips.take(right_before=before, right_now=now)
    found = flips.found()
    assert found is not None
    assert (found.images, found.negative.count, found.positive.count) == (14, 2, 3)
    assert (found.accuracy_before.count, found.accuracy_now.count) == (7, 8)
    assert found.accuracy_change.value == pytest.approx(1 / 14)
    assert found.mcnemar == mcnemar(2, 3)


def error_of(probabilities: np.ndarray, right: np.ndarray) -> float:
    """The calibration error as its papers write it: bin by bin."""
    edges = np.linspace(0, 1, BINS + 1)
    total = 0.0
    for low, high in zip(edges, [*edges[1:-1], 1.1], strict=False):
        inside = (probabilities >= low) & (probabilities < high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - probabilities[inside].mean())
    return total


def test_the_calibration_error_is_that_of_its_definition() -> None:
    draw = np.random.default_rng(1)
    before, now = draw.uniform(0.1, 1, 3000), draw.uniform(0.1, 1, 3000)
    before[0] = 1.0
    right_before, right_now = draw.uniform(size=3000) < before, draw.uniform(size=3000) < now**2
    calibration = Calibration()
    for row in range(3000):
        calibration.take((float(before[row]), bool(right_before[row])), (float(now[row]), bool(right_now[row])))
    found = calibration.found()
    assert found is not None
    assert found.before == pytest.approx(error_of(before, right_before), abs=1e-9)
    assert found.now == pytest.approx(error_of(now, right_now), abs=1e-9)
    assert found.change.value == pytest.approx(found.now - found.before)
    assert found.change.low > 0, "the second version is overconfident beyond doubt"


def test_equal_versions_have_an_interval_of_nothing_around_0() -> None:
    calibration = Calibration()
    for row in range(100):
        calibration.take((row / 100, row % 2 == 0), (row / 100, row % 2 == 0))
    found = calibration.found()
    assert found is not None
    assert (found.change.value, found.change.low, found.change.high) == (0, 0, 0)


def test_a_probability_that_is_no_number_makes_the_error_unknown() -> None:
    calibration = Calibration()
    calibration.take((0.5, True), (math.nan, False))
    found = calibration.found()
    assert found is not None
    assert math.isnan(found.now)
