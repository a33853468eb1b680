"""What verdicts are decided on: the numbers of one model on some samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Activations:
    """Of N samples and L layers, as the `activations` graph gives them.

    Args:
        mean, variance, zero_share: float64 [N, L]; zero_share is of the rectifier that follows.
        rectified: bool [L], whether one does.
        function: what the network's layers are activated by, where that is known, e.g. "relu", "tanh".
    """

    mean: Float64
    variance: Float64
    zero_share: Float64
    rectified: NDArray[np.bool_]
    function: str | None


@dataclass(frozen=True)
class Evidence:
    """What the rules look at.

    Args:
        names, depths: of the L layers, in forward order.
        relative: r, float64 [N, L]; NaN or infinite where the gradient is.
        saturated: bool [N]; samples whose dL/dlogits is 0, which are left out.
        dead_fraction: float64 [L], NaN where there is no rectifier or it was not measured.
        dead_images: how many images are behind `dead_fraction`.
        mean_gradient: float64 [L], root mean square of dL/dW, median over samples; for Debugger's rules.
        activations: of the layers' own outputs, where they were measured; for Debugger's rules.
    """

    names: Sequence[str]
    depths: Sequence[int]
    relative: Float64
    saturated: NDArray[np.bool_]
    dead_fraction: Float64
    dead_images: int
    mean_gradient: Float64
    activations: Activations | None = None


def named(evidence: Evidence, chosen: NDArray[np.bool_] | np.bool_) -> list[str]:
    """The names of the layers that are `chosen` [L]."""
    return [name for name, is_chosen in zip(evidence.names, np.atleast_1d(chosen), strict=True) if is_chosen]
