"""Dead channels: those that a rectifier leaves at zero, at every position of every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import Layer


def dead_shares(layers: Sequence[Layer], channel_peak: NDArray[Any]) -> NDArray[np.float64]:
    """Share of dead channels per layer [L], NaN without a rectifier.

    Args:
        channel_peak: [N, channels of all rectified layers side by side], the largest value of each.
    """
    dead = (channel_peak == 0).all(axis=0)
    ends = np.cumsum([layer.channels for layer in layers])[:-1]
    return np.array([part.mean() if part.size else np.nan for part in np.split(dead, ends)])
