"""Deletion and insertion (Petsiuk et al. 2018): a map's pixels taken away, or put in, from the largest on.

A good map finds the pixels that the network goes by. So the class's probability falls soon where they are taken away
(a small area under the curve is good), and rises soon where they are put in (a large one is good).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from bench.explanations.network import Floats, Network

STEPS: Final = 32
"""Points of a curve after its first: 32 pixels each on a picture of 32 × 32."""
BLUR_WIDTH, BLUR_DEVIATION = 11, 5.0
"""Window and deviation of the Gaussian that blurs the picture for insertion, in pixels; the authors' values."""


def areas(network: Network, image: Floats, label: int, values: Floats) -> tuple[float, float]:
    """Return the areas under the curves of deletion and insertion, each from 0 to 1.

    Pixels that the map does not tell apart are taken in a random order, the same for every map.

    Args:
        image: [channels, height, width], as the network reads it; 0 stands for what was taken away.
        values: the map, [height, width].
    """
    shuffled = np.random.default_rng(0).permutation(values.size)
    order = shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]
    rank = np.empty(values.size, int)
    rank[order] = np.arange(values.size)
    taken = np.round(np.linspace(0, values.size, STEPS + 1))
    largest = (rank < taken[:, None]).reshape(-1, 1, *values.shape)
    deleted = np.where(largest, 0.0, image)
    inserted = np.where(largest, image, blurred(image))
    curves = network.probabilities(np.concatenate([deleted, inserted]))[:, label].reshape(2, -1)
    deletion, insertion = ((curves[:, 1:] + curves[:, :-1]) / 2).mean(axis=1)
    return float(deletion), float(insertion)


def blurred(image: Floats, deviation: float = BLUR_DEVIATION) -> Floats:
    """Return [..., height, width] blurred by a Gaussian; outside, the picture goes on as its mirror image."""
    places = np.arange(BLUR_WIDTH) - BLUR_WIDTH // 2
    kernel = np.exp(-((places / deviation) ** 2) / 2)
    kernel /= kernel.sum()
    for axis in (-2, -1):
        around = [(0, 0)] * image.ndim
        around[axis] = (BLUR_WIDTH // 2, BLUR_WIDTH // 2)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, around, "reflect"), BLUR_WIDTH, axis)
        image = windows @ kernel
    return image
