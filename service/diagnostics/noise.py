"""Gradient noise scale: the batch size beyond which more images hardly improve the gradient.

McCandlish et al. 2018, appendix A.1. For B images with m = mean‖g_i‖² and b = ‖mean g_i‖²,

    |G|² = (B·b − m) / (B − 1)        S = (m − b)·B / (B − 1)        noise scale = S / |G|²

Both estimates are unbiased; their ratio is not. The interval is a delete-a-group jackknife on the logarithm of the
ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Float64
from service.diagnostics.schemas.gradients import NoiseScale

GROUPS: Final = 8
"""Most groups that are left out in turn. The interval then costs about eight more runs."""
LEAST_FOR_INTERVAL: Final = 3
STUDENT_95: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36)
"""Two-sided 95 % quantile of Student's t for 1, 2, … 7 degrees of freedom."""


def left_out_groups(images: int) -> list[NDArray[np.int64]]:
    """Return the indices that stay in, for each jackknife run: one run per image, or per group from eight images."""
    if images < LEAST_FOR_INTERVAL:
        return []
    everyone = np.arange(images)
    return [np.setdiff1d(everyone, group) for group in np.array_split(everyone, min(GROUPS, images))]


def noise_scale(
    sample_square: Float64, batch_square: float, kept: Sequence[NDArray[np.int64]], kept_batch_square: Sequence[float]
) -> NoiseScale:
    """Estimate the noise scale of one gradient vector: of a layer, or of all layers together.

    Args:
        sample_square: ‖g_i‖², [B].
        batch_square: ‖mean g_i‖².
        kept, kept_batch_square: for each jackknife run the samples that stayed in, and their ‖mean g_i‖².
    """
    signal, noise = estimates(sample_square, batch_square)
    if not (math.isfinite(signal) and math.isfinite(noise)) or signal <= 0 or noise <= 0:
        return _noise_scale("undetermined", sample_square, signal, noise, None, None, None)
    low, high = _interval(sample_square, noise / signal, kept, kept_batch_square)
    state = "determined" if low is not None else "undetermined"
    return _noise_scale(state, sample_square, signal, noise, noise / signal, low, high)


def estimates(sample_square: Float64, batch_square: float) -> tuple[float, float]:
    """Return (|G|², S), both unbiased; NaN for fewer than two samples."""
    count = len(sample_square)
    if count < 2:
        return math.nan, math.nan
    mean = float(sample_square.mean())
    return (count * batch_square - mean) / (count - 1), (mean - batch_square) * count / (count - 1)


def _interval(
    sample_square: Float64, ratio: float, kept: Sequence[NDArray[np.int64]], kept_batch_square: Sequence[float]
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the ratio; (None, None) if some run has no positive estimate."""
    logs = []
    for indices, batch_square in zip(kept, kept_batch_square, strict=True):
        signal, noise = estimates(sample_square[indices], batch_square)
        if not (signal > 0 and noise > 0):
            return None, None
        logs.append(math.log(noise / signal))
    if len(logs) < LEAST_FOR_INTERVAL:
        return None, None
    groups = len(logs)
    spread = math.sqrt((groups - 1) / groups * float(np.sum((np.array(logs) - np.mean(logs)) ** 2)))
    reach = STUDENT_95[groups - 2] * spread
    return ratio * math.exp(-reach), ratio * math.exp(min(reach, 700.0))  # e^710 is beyond float64


def _noise_scale(
    state: str,
    sample_square: Float64,
    signal: float,
    noise: float,
    ratio: float | None,
    low: float | None,
    high: float | None,
) -> NoiseScale:
    return NoiseScale.model_validate(
        {
            "state": state,
            "images": len(sample_square),
            "gradient_square": signal,
            "variance": noise,
            "noise_scale": ratio,
            "low": low,
            "high": high,
        }
    )
