"""The derivatives and correlations of nets from R to R are what the definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.networks.scalar_nets import (
    ScalarNet,
    autocorrelation,
    brown_noise,
    correlation_over_draws,
    derivatives,
    grid,
    normalize,
    white_noise,
)


def test_the_grid_is_the_papers() -> None:
    assert grid()[[0, -1]].tolist() == [-2, 2]
    assert len(grid()) == 256


def test_a_one_layer_net_is_differentiated_as_by_hand() -> None:
    generator = torch.Generator().manual_seed(3)

    def gaussian(rows: int, columns: int, fan_in: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * math.sqrt(2 / fan_in)

    weight, bias, out = gaussian(1, 7, 1), gaussian(1, 7, 1), gaussian(7, 1, 7)
    x = grid(16).view(-1, 1)
    by_hand = ((x @ weight + bias > 0).float() * weight) @ out
    computed = derivatives(ScalarNet("plain", 1, width=7), draws=1, points=16, seed=3)
    torch.testing.assert_close(computed[0], by_hand[:, 0])


def test_one_seed_gives_one_set_of_draws() -> None:
    net = ScalarNet("residual", 3, "batch", width=20)
    first, again, other = (derivatives(net, 2, 16, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other)


def test_looks_linear_nets_are_linear() -> None:
    slopes = derivatives(ScalarNet("looks_linear", 6, width=40), draws=3, points=32)
    spread = (slopes.max(1).values - slopes.min(1).values) / slopes.abs().max(1).values
    assert float(spread.max()) < 1e-4


def test_normalization_centres_and_scales_over_the_points() -> None:
    hidden = torch.randn(100, 4) * 3 + 5
    centred, batch = normalize(hidden, "centred"), normalize(hidden, "batch")
    assert float(centred.mean(0).abs().max()) < 1e-5
    assert centred.std(0).tolist() == pytest.approx(hidden.std(0).tolist(), rel=1e-5)
    assert batch.var(0, unbiased=False).tolist() == pytest.approx([1] * 4, rel=1e-4)
    assert normalize(hidden, "none") is hidden


def test_autocorrelation_is_numpys() -> None:
    series = brown_noise(2, 50, seed=1)
    centred = series[0].double().numpy() - series[0].double().numpy().mean()
    expected = np.correlate(centred, centred, "full")[49:] / (centred @ centred)
    assert autocorrelation(series, 10)[0].tolist() == pytest.approx(expected[:10].tolist(), abs=1e-5)


def test_a_constant_has_no_autocorrelation() -> None:
    assert autocorrelation(torch.ones(1, 8), 3).isnan().all()


def test_white_noise_is_uncorrelated_and_brown_noise_is_not() -> None:
    assert abs(float(autocorrelation(white_noise(100), 2).mean(0)[1])) < 0.02
    assert float(autocorrelation(brown_noise(100), 2).mean(0)[1]) > 0.95
    assert float(correlation_over_draws(brown_noise(500))[63, 255]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("fields", [("dense", 3, "none"), ("plain", 3, "layer"), ("plain", 0, "none")])
def test_an_unknown_net_is_refused(fields: tuple[str, int, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown|at least 1"):
        ScalarNet(*fields)
