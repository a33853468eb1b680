"""`reference.npz` of a bundle: statistics of its training images, which scores compare an image with."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.contract.arrays import Float64

REFERENCE_FILE: Final = "reference.npz"


@dataclass(frozen=True)
class ReferenceStatistics:
    """Distribution of the vectors ln(weight_gradient_norm / ‖dL/dlogits‖) over training images, one entry per layer.

    Args:
        mean: float64 [L].
        precision: inverse of the covariance, float64 [L, L].
    """

    mean: Float64
    precision: Float64


def parse_reference(content: bytes) -> ReferenceStatistics | None:
    """Return the statistics in the bytes of a `reference.npz`; None if they could not be fitted."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if "log_norm_mean" not in arrays:
            return None
        return ReferenceStatistics(arrays["log_norm_mean"], arrays["log_norm_precision"])
