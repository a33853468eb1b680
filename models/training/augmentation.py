"""Random crops and flips of training images, and the channel statistics by which images are normalised."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad each image with zeros, crop it at random, and flip every second one on average: uint8 [n, h, w, 3]."""
    count, height, width, _ = images.shape
    padded = functional.pad(images, (0, 0, padding, padding, padding, padding))
    top = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=generator)
    left = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=generator)
    flipped = torch.rand((count, 1, 1), generator=generator) < 0.5
    rows = top + torch.arange(height).view(1, -1, 1)
    columns = torch.arange(width).view(1, 1, -1).expand(count, 1, -1)
    columns = left + torch.where(flipped, width - 1 - columns, columns)
    return padded[torch.arange(count).view(-1, 1, 1), rows, columns]


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, of pixels divided by 255, to four digits."""
    histogram = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)]
    values = np.arange(256) / 255
    means = [float((counts * values).sum() / counts.sum()) for counts in histogram]
    spreads = [
        float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))
        for counts, mean in zip(histogram, means, strict=True)
    ]
    return tuple(round(mean, 4) for mean in means), tuple(max(round(spread, 4), 1e-4) for spread in spreads)
