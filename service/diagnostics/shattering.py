"""Shattered gradients (Balduzzi et al. 2017) of a served model, along the straight path between two images.

At P points x(t) = (1 − t)·a + t·b the input gradient g(t) of the loss for one label is taken. Of a smooth
network g changes slowly along the path; of a shattered one it is like white noise. Shown three ways:

    correlation          cosine between g(t) and g(t')
    autocorrelation      Σ_d Σ_t A[t,d]·A[t+lag,d], A the unit gradients less their mean over the path, summed over
                         the input's numbers d, per term and relative to lag 0; white noise and Brownian motion of
                         the same P go through the same estimator
    spectral exponent    −slope of log power over log frequency of A (Hann window, mean over d): 0 for white noise,
                         2 for Brownian motion

Gradients are divided by their norm first, so that a path through confident and doubtful regions is judged by
direction alone. The paper looks at nets R → R over many initializations; here the input's thousands of
coordinates take the place of initializations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.diagnostics.schemas.shattering import Autocorrelation, ShatteringVerdict

Array = NDArray[Any]
Float64 = NDArray[np.float64]

POINTS: Final = 64
LEAST_POINTS: Final = 16
MOST_POINTS: Final = 256
SHATTERED: Final = 0.5
"""Spectral exponent below which a gradient is nearer to white noise than to anything else."""
SMOOTH: Final = 1.0
REFERENCE_SERIES: Final = 512
SOURCE: Final = "Balduzzi et al. 2017, figure 1; threshold: Contraflow, docs/verdicts.md"


@dataclass(frozen=True)
class Path:
    """What a path shows: correlation [P, P], autocorrelation by lag, exponent, and the norms [P]."""

    correlation: Float64
    autocorrelation: Autocorrelation
    spectral_exponent: float
    gradient_norm: Float64


def straight_path(first: Array, second: Array, points: int) -> NDArray[np.float32]:
    """`points` inputs from `first` to `second`, both included: [P, …] float32."""
    t = np.linspace(0.0, 1.0, points).reshape(-1, *[1] * first.ndim)
    path: NDArray[np.float32] = ((1 - t) * first + t * second).astype(np.float32)
    return path


def noise_image(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The second image where only one is given: uniform noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def analyse(gradients: Float64) -> Path:
    """Statistics of the input gradients [P, …] along a path; NaN where a gradient is 0 or not finite."""
    flat = gradients.reshape(len(gradients), -1)
    norms: Float64 = np.linalg.norm(flat, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = flat / norms[:, None]
    white, brown = references(len(flat))
    lags = list(range(len(flat) // 2))
    return Path(
        correlation=unit @ unit.T,
        autocorrelation=Autocorrelation(
            lags=lags, mean=autocorrelation(unit).tolist(), white=white.tolist(), brown=brown.tolist()
        ),
        spectral_exponent=spectral_exponent(unit),
        gradient_norm=norms,
    )


def autocorrelation(series: Float64) -> Float64:
    """By lag 0 … P/2 − 1, of [P, D] over the first axis, pooled over the second."""
    centred = series - series.mean(axis=0)
    count = len(centred)
    at_lag = np.array([np.sum(centred[: count - lag] * centred[lag:]) / (count - lag) for lag in range(count // 2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Float64 = at_lag / at_lag[0]
    return result


def spectral_exponent(series: Float64) -> float:
    """−slope of log mean power over log frequency, from the second to a quarter of the frequencies."""
    centred = (series - series.mean(axis=0)) * np.hanning(len(series))[:, None]
    power = np.mean(np.abs(np.fft.rfft(centred, axis=0)) ** 2, axis=1)
    chosen = np.arange(2, max(5, len(series) // 4))
    if not (np.isfinite(power).all() and (power[chosen] > 0).all()):
        return float("nan")
    return -float(np.polyfit(np.log(chosen), np.log(power[chosen]), 1)[0])


@lru_cache(maxsize=8)
def references(points: int) -> tuple[Float64, Float64]:
    """Autocorrelation of white noise and of Brownian motion, by the estimator above."""
    white = np.random.default_rng(0).normal(size=(points, REFERENCE_SERIES))
    return autocorrelation(white), autocorrelation(np.cumsum(white, axis=0))


def judge(path: Path, threshold: float = SHATTERED) -> ShatteringVerdict:
    """Shattered, rough or smooth, by the spectral exponent."""
    exponent = path.spectral_exponent
    if not np.isfinite(exponent):
        return _verdict("undetermined", "A gradient along the path is 0 or not finite.", exponent, threshold)
    if exponent < threshold:
        state, looks = "shattered", "looks like white noise (0)"
    elif exponent < SMOOTH:
        state, looks = "rough", "is between white noise (0) and Brownian motion (2)"
    else:
        state, looks = "smooth", "is no rougher than about Brownian motion (2)"
    lag_one = path.autocorrelation.mean[1]
    return _verdict(
        state,
        f"Along the path the input gradient {looks}: spectral exponent {exponent:.2f}, "
        f"autocorrelation {lag_one:.2f} at lag 1.",
        exponent,
        threshold,
    )


def _verdict(state: str, because: str, value: float, threshold: float) -> ShatteringVerdict:
    return ShatteringVerdict.model_validate(
        {
            "state": state,
            "because": because,
            "value": value,
            "threshold": threshold,
            "rule": "spectral exponent of the input gradient along the path",
            "source": SOURCE,
        }
    )
