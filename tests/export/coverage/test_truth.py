"""The truth of the measurement: torch where it is right, and which image, weight and difference are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.coverage.truth.clearest import clearest
from export.coverage.truth.compare import difference
from export.coverage.truth.formula import NormalizedByFormula
from export.coverage.truth.matching import match


def normalization() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8).double().eval()
    with torch.no_grad():
        for values in (norm.running_mean, norm.weight, norm.bias):
            assert values is not None
            values.normal_()
    return norm


def test_batch_norm_by_its_formula_agrees_with_central_differences_where_torch_s_own_does_not() -> None:
    """If torch's own agrees one day, `NormalizedByFormula` can go."""
    norm = normalization()
    x = torch.randn(1, 8, 6, 6, dtype=torch.double)
    w, direction = torch.randn(1, 36, 8, dtype=torch.double), torch.randn_like(x)

    def loss(x: Tensor) -> Tensor:
        product: Tensor = norm(x).reshape(1, 8, 36).transpose(1, 2) * w
        return product.sum()

    def slope(x: Tensor) -> float:
        variable = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(variable), variable)
        return float((gradient * direction).sum())

    with torch.no_grad():
        expected = float(loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
    with NormalizedByFormula():
        assert slope(x) == pytest.approx(expected, rel=1e-6)
    assert slope(x) != pytest.approx(expected, rel=1e-2)


def test_the_images_farthest_from_every_kink_are_taken() -> None:
    images = torch.tensor([0.5, 1e-9, -0.4, -1e-8]).reshape(4, 1, 1, 1)
    chosen = clearest(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Flatten()), images, 2)
    assert chosen.flatten().tolist() == pytest.approx([0.5, -0.4])


class Windowed(nn.Module):
    """Bounds whole numbers, as a table of relative positions does, and pools."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, 2) * torch.arange(3).clamp(0, 1).sum()


def test_every_window_of_a_pool_counts_and_whole_numbers_do_not() -> None:
    images = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, :2] = images[0].max() + torch.tensor([1e-7, 2e-7])
    assert torch.equal(clearest(Windowed(), images, 1), images[1:])


def test_of_two_parameters_with_nearly_the_same_numbers_the_closest_is_the_match() -> None:
    values = np.array([1.0, 2e-6, 0.0, 1.0])
    theirs = {"near": values + np.array([0, 1e-6, 0, 0]), "same": values, "far": values + 1}
    assert match({"mine": values[::-1]}, theirs) == {"mine": "same"}
    assert match({"mine": values + 5}, theirs) == {}


def test_of_two_copies_of_one_parameter_neither_is_the_parameter() -> None:
    values = np.array([1.0, 2.0])
    assert match({"first": values, "second": values, "other": values + 1}, {"one": values, "two": values + 1}) == {
        "other": "two"
    }


def test_a_norm_that_is_zero_by_mathematics_is_compared_with_the_sample_s_largest() -> None:
    largest = np.array([2.0, 4.0])
    assert difference(np.array([2e-7, 4e-7]), np.array([1e-17, 0.0]), largest) == pytest.approx(1e-7)
    assert difference(np.array([2.0, 4.0]), np.array([1e-17, 0.0]), largest) == pytest.approx(1.0)
    assert difference(np.array([1.1e-6, 1.0]), np.array([1e-6, 1.0]), largest) == pytest.approx(0.1)
    assert difference(np.array([np.nan, 1.0]), np.array([0.0, 1.0]), largest) == 1.0
