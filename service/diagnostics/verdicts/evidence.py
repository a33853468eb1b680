"""The numbers that the rules look at: those of one model on some samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Float64


@dataclass(frozen=True)
class Activations:
    """Statistics of the outputs of L layers on N samples, as the `activations` graph gives them.

    Args:
        mean, variance, zero_share: float64 [N, L]; zero_share is of the rectifier that follows the layer.
        function: activation function of the network if it is known, e.g. "relu", "tanh".
    """

    mean: Float64
    variance: Float64
    zero_share: Float64
    function: str | None


@dataclass(frozen=True)
class Evidence:
    """Numbers of one model with L layers on N samples.

    Args:
        names, depths: of the L layers, in forward order.
        relative: scaled_gradient_norm / ‖dL/dlogits‖, float64 [N, L]; NaN or infinite where the gradient is.
        saturated: bool [N]; samples whose dL/dlogits is 0. They are left out.
        finite_logits: bool [N]; samples whose logits are all finite.
        rectified: bool [L]; whether a rectifier follows the layer, so that its channels may be dead.
        dead_fraction: float64 [L]; NaN without a rectifier, and where it was not measured.
        dead_images: number of images that `dead_fraction` is based on.
        dead_recorded: whether these are the training images of the bundle's record, and not the samples.
        mean_gradient: root mean square of dL/dW, median over samples, float64 [L]; for the rules of Debugger.
        activations: statistics of the layers' outputs if they were measured; for the rules of Debugger.
    """

    names: Sequence[str]
    depths: Sequence[int]
    relative: Float64
    saturated: NDArray[np.bool_]
    finite_logits: NDArray[np.bool_]
    rectified: NDArray[np.bool_]
    dead_fraction: Float64
    dead_images: int
    mean_gradient: Float64
    dead_recorded: bool = False
    activations: Activations | None = None


def named(evidence: Evidence, chosen: NDArray[np.bool_] | np.bool_) -> list[str]:
    """Return the names of the layers that are `chosen` [L]."""
    return [name for name, is_chosen in zip(evidence.names, np.atleast_1d(chosen), strict=True) if is_chosen]
