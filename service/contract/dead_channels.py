"""Dead channels: those that a rectifier leaves at zero at every position of every image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Layer


def dead_fractions(layers: Sequence[Layer], channel_peak: Array) -> Float64:
    """Return the fraction of dead channels of each layer, [L]; NaN where no rectifier follows the layer.

    Args:
        layers: the L layers of the bundle.
        channel_peak: the graph output of that name, [N, C]: the columns of all rectified layers side by side.
    """
    dead = (channel_peak == 0).all(axis=0)
    ends = np.cumsum([layer.channels for layer in layers])[:-1]
    return np.array([part.mean() if part.size else np.nan for part in np.split(dead, ends)])
