"""Balduzzi et al. 2017 on real convolutional networks, between two photographs: depth shatters, shortcuts help."""

from __future__ import annotations

import pytest

from bench.verdicts.corpus import photographs
from bench.verdicts.shattered import untrained_path
from service.diagnostics.shattering.verdict import judge_path

IMAGES = photographs()


@pytest.mark.slow
def test_a_deep_plain_network_at_initialization_is_shattered_and_the_residual_one_is_not() -> None:
    plain, residual = untrained_path("plain", 56, IMAGES), untrained_path("residual", 56, IMAGES)
    assert judge_path(plain).state == "shattered"
    assert plain.autocorrelation.mean[1] < 0.1
    assert judge_path(residual).state != "shattered"
    assert residual.autocorrelation.mean[1] > 0.4
