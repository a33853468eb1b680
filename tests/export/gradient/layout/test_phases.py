"""Input gradients of strided convolutions, phase by phase where their channels fill blocks."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from export.gradient import differentiate
from export.running.reference import evaluate
from tests.export.gradient.networks.torch_networks import by_autograd, feeds, prepared, run

CHANNELS = 16
"""The channels of one block."""

Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Kernel, stride and padding."""


class Reductions(nn.Module):
    """Strided convolutions of the image side by side, each with a head of its own."""

    def __init__(self, sizes: tuple[int, int], *geometries: Geometry) -> None:
        super().__init__()
        self.reductions = nn.ModuleList(nn.Conv2d(CHANNELS, 4, *geometry) for geometry in geometries)
        self.heads = nn.ModuleList()
        for geometry in geometries:
            axes = zip(sizes, *geometry, strict=True)
            positions = [(size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in axes]
            self.heads.append(nn.Linear(4 * positions[0] * positions[1], 3))

    def forward(self, x: Tensor) -> Tensor:
        scores = [
            head(reduction(x).tanh().flatten(1)) for reduction, head in zip(self.reductions, self.heads, strict=True)
        ]
        total: Tensor = sum(scores[1:], scores[0])
        return total


@pytest.mark.parametrize(
    ("sizes", "geometries", "convolutions"),
    [
        ((8, 8), [((3, 3), (2, 2), (1, 1))], 4),
        ((7, 9), [((3, 3), (2, 2), (1, 1))], 4),
        ((7, 7), [((5, 3), (2, 2), (2, 0))], 4),
        ((9, 8), [((3, 3), (2, 1), (1, 1))], 1),  # three of four taps in use
        ((8, 7), [((1, 1), (2, 2), (0, 0))], 1),
        ((8, 8), [((1, 1), (2, 2), (1, 1))], 1),
        ((9, 9), [((2, 1), (4, 3), (1, 0))], 2),
        ((8, 8), [((2, 2), (2, 2), (0, 0))], 1),  # all four
        ((7, 8), [((1, 1), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1))], 1 + 4),
        ((8, 8), [((1, 2), (2, 2), (0, 0)), ((2, 1), (2, 2), (0, 0))], 2 + 2),  # nothing at the last phase
        ((8, 8), [((2, 2), (2, 2), (0, 0)), ((1, 1), (2, 2), (0, 0))], 1 + 1),  # no common movement
    ],
)
def test_the_gradient_of_the_image_is_torchs(
    sizes: tuple[int, int], geometries: list[Geometry], convolutions: int
) -> None:
    network = Reductions(sizes, *geometries)
    image = np.random.default_rng(1).normal(size=(3, CHANNELS, *sizes))
    labels = (0, 2, 1)
    exact = prepared(network, (CHANNELS, *sizes), double=True)
    expected = by_autograd(network, exact, image, labels)["input_gradient"]

    found = evaluate(differentiate(exact, "input_gradient"), feeds(image, labels))["input_gradient"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())

    coarse = differentiate(prepared(network, (CHANNELS, *sizes)), "input_gradient")
    assert sum(node.op_type == "Conv" for node in coarse.graph.node) == len(geometries) + convolutions
    found = run(coarse, image.astype(np.float32), labels)["input_gradient"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_sample_with_infinities_spoils_no_other() -> None:
    """The zeros of an absent phase are none of another phase's numbers times zero."""
    geometries = ((1, 2), (2, 2), (0, 0)), ((2, 1), (2, 2), (0, 0))
    model = differentiate(prepared(Reductions((8, 8), *geometries), (CHANNELS, 8, 8)), "input_gradient")
    image = np.random.default_rng(1).normal(size=(2, CHANNELS, 8, 8)).astype(np.float32)
    found = run(model, image, (0, 1), np.array([np.inf, 1.0], np.float32))["input_gradient"]
    assert (found[:, :, 1::2, 1::2] == 0).all()
    assert np.isfinite(found[1]).all()
    assert not np.isfinite(found[0, :, ::2, ::2]).any()
