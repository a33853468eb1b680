"""The gradients of chains are those that formulas give."""

from __future__ import annotations

import math

import pytest
import torch

from models.networks.chains import Chain, decades_per_layer, gradients


def test_slopes_are_in_decades_per_layer_towards_the_input() -> None:
    assert decades_per_layer([1e-6, 1e-4, 1e-2]) == pytest.approx(-2)
    assert decades_per_layer([1e3, 1e2, 1e1, 1e0]) == pytest.approx(1)
    assert decades_per_layer([0.0, 1e-4, 1e-2]) == pytest.approx(-2), "a zero has no logarithm and is left out"
    assert math.isnan(decades_per_layer([1.0]))
    assert math.isnan(decades_per_layer([math.inf, math.nan]))


def test_twice_the_weights_of_a_relu_chain_double_the_gradient_at_every_layer() -> None:
    """ReLU is homogeneous, so with the same draws only the softmax at the end can tell the two chains apart."""
    once, twice = (gradients(Chain("relu", 6, scale=scale, width=16), seed=1) for scale in (1.0, 2.0))
    ratio_once = [first / once.activation_gradient[-1] for first in once.activation_gradient]
    ratio_twice = [first / twice.activation_gradient[-1] for first in twice.activation_gradient]
    growth = [b / a for a, b in zip(ratio_once, ratio_twice, strict=True)]
    assert growth == pytest.approx([2**5, 2**4, 2**3, 2**2, 2, 1], rel=0.5)


def test_batch_normalized_chains_do_not_see_the_scale() -> None:
    once, twice = (gradients(Chain("relu", 5, "batch", scale, width=16)).activation_gradient for scale in (1.0, 2.0))
    assert [value / twice[-1] for value in twice] == pytest.approx([value / once[-1] for value in once], rel=1e-3)


def test_one_layer_is_differentiated_as_by_hand() -> None:
    """dL/dz = (p − y)·Vᵀ ⊙ σ′(z) and dL/dW = aᵀ·dL/dz."""
    samples, width = 4, 8
    generator = torch.Generator().manual_seed(5)

    def gaussian(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs, weight = gaussian(samples, width), gaussian(width, width) / math.sqrt(width)
    out = gaussian(width, 10) / math.sqrt(width)
    labels = torch.randint(0, 10, (samples,), generator=generator)
    activation = torch.sigmoid(inputs @ weight)
    error = torch.softmax(activation @ out, 1) - torch.nn.functional.one_hot(labels, 10)
    slope = error @ out.T * activation * (1 - activation)
    measured = gradients(Chain("sigmoid", 1, width=width), seed=5, samples=samples)
    assert measured.activation_gradient == pytest.approx([float(slope.norm())])
    assert measured.weight_gradient == pytest.approx([float((inputs.T @ slope).norm())])
    assert measured.spectral_norm == pytest.approx([float(torch.linalg.svdvals(weight)[0])])


@pytest.mark.parametrize("fields", [("swish", 3), ("relu", 3, "layer")])
def test_an_unknown_chain_is_refused(fields: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        Chain(*fields)
