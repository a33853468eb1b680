"""Balduzzi et al. 2017 on real convolutional networks, between two photographs: depth shatters, shortcuts help."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.verdicts.corpus import photographs
from bench.verdicts.shattered import untrained_path
from service.diagnostics import shattering

IMAGES = photographs(Path(__file__).parents[2] / "photographs")[:24]


@pytest.mark.slow
def test_a_deep_plain_network_at_initialization_is_shattered_and_the_residual_one_is_not() -> None:
    plain, residual = untrained_path("plain", 56, IMAGES), untrained_path("residual", 56, IMAGES)
    assert shattering.judge_path(plain).state == "shattered"
    assert plain.autocorrelation.mean[1] < 0.1
    assert shattering.judge_path(residual).state != "shattered"
    assert residual.autocorrelation.mean[1] > 0.4
