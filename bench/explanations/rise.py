"""RISE (Petsiuk, Das and Saenko 2018), written from the paper: a class's probability behind thousands of masks.

The map is the mean of the masks, each weighted with the probability that the network gives the class where the picture
is multiplied by it. It needs no gradient, and one forward run for every mask.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.explanations.network import Floats, Network

GRID: Final = 7
"""Cells along a side of a mask before it is enlarged; the paper's."""
KEPT: Final = 0.5
"""Chance that a cell shows the picture; the paper's."""
MASKS: Final = 4000
"""The paper's number for a VGG network."""
BATCH: Final = 32
"""Masked pictures per run."""


def random_masks(count: int, height: int, width: int, seed: int = 0) -> Floats:
    """Return masks, float32 [count, height, width], from 0 (hidden) to 1 (shown).

    Each is a grid of zeros and ones, enlarged linearly to one cell more than the picture in each direction, of which
    a window of the picture's size is cut at a random place.
    """
    random = np.random.default_rng(seed)
    cell_height, cell_width = -(-height // GRID), -(-width // GRID)
    rows = _linear(GRID, (GRID + 1) * cell_height)
    columns = _linear(GRID, (GRID + 1) * cell_width)
    masks = np.empty((count, height, width), np.float32)
    for mask in masks:
        large = rows @ (random.random((GRID, GRID)) < KEPT) @ columns.T
        top, left = random.integers(0, cell_height), random.integers(0, cell_width)
        mask[:] = large[top : top + height, left : left + width]
    return masks


def _linear(size: int, wanted: int) -> NDArray[np.float64]:
    """Return the matrix [wanted, size] that enlarges a line linearly; its ends go on as they are."""
    places = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    matrix: NDArray[np.float64] = np.maximum(0.0, 1 - np.abs(places[:, None] - np.arange(size)))
    return matrix


def rise_map(network: Network, image: Floats, label: int, masks: Floats) -> Floats:
    """Return the map of one picture, [height, width], in as many forward runs as there are masks."""
    weights = [
        network.probabilities(image * masks[start : start + BATCH, None])[:, label]
        for start in range(0, len(masks), BATCH)
    ]
    found: Floats = np.tensordot(np.concatenate(weights), masks, 1) / (len(masks) * KEPT)
    return found


def rise_maps(network: Network, images: Floats, labels: NDArray[np.int64], masks: Floats, cache: Path | None) -> Floats:
    """Return the maps of all pictures, [n, height, width]; those that lie in the folder `cache` are read from there."""
    if cache is None:
        return np.stack([rise_map(network, *one, masks) for one in zip(images, labels, strict=True)])
    cache.mkdir(parents=True, exist_ok=True)
    bundle, of_masks = network.bundle, zlib.crc32(masks.tobytes())
    maps = []
    for image, label in zip(images, labels, strict=True):
        file = cache / f"{bundle.name}@{bundle.version}-{zlib.crc32(image.tobytes(), of_masks):08x}-{label}.npy"
        if not file.exists():
            np.save(file, rise_map(network, image, int(label), masks).astype(np.float32))
        maps.append(np.load(file))
    return np.stack(maps)
