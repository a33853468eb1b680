"""Dead channels: those that a rectifier leaves at zero at every position of every image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Layer


def dead_fractions(layers: Sequence[Layer], channel_peak: Array) -> Float64:
    """Return the fraction of dead channels of each layer, [L]; NaN where no rectifier follows the layer.

    Args:
        layers: the L layers of the bundle.
        channel_peak: the graph output of that name, [N, C]: the columns of all rectified layers side by side.
    """
    return fractions_never_alive(layers, np.asarray(alive_channels(channel_peak).any(axis=0)))


def alive_channels(channel_peak: Array) -> NDArray[np.bool_]:
    """Return which channels are not zero everywhere, image by image, [N, C]."""
    return np.asarray(channel_peak != 0)


def fractions_never_alive(layers: Sequence[Layer], alive: NDArray[np.bool_]) -> Float64:
    """Return the fraction of each layer's channels that are not `alive` [C], [L]; NaN without a rectifier."""
    ends = np.cumsum([layer.channels for layer in layers])[:-1]
    return np.array([part.mean() if part.size else np.nan for part in np.split(~alive, ends)])
