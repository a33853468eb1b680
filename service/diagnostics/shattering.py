"""Shattered gradients (Balduzzi et al. 2017) of a model, along the straight path between two images.

At P points x(t) = (1 − t)·a + t·b of the path, g(t) is the gradient of the loss for one label with respect to the
input. In a smooth network g changes slowly along the path; in a shattered one it resembles white noise. Three measures:

    correlation          cosine between g(t) and g(t')
    autocorrelation      mean over t and d of A[t,d]·A[t+lag,d], relative to lag 0. A holds the unit gradients less
                         their mean over the path, and d counts the numbers of the input. White noise and Brownian
                         motion of the same length go through the same estimator
    spectral exponent    −slope of log power over log frequency of A (Hann window, mean over d): 0 for white noise,
                         2 for Brownian motion

Each gradient is divided by its norm, so that a path through confident and doubtful regions is judged by direction
alone. The paper averages nets R → R over many initializations; here the thousands of coordinates of the input take
the place of the initializations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.diagnostics.schemas.shattering import Autocorrelation, ShatteringVerdict
from service.diagnostics.verdicts.explanations import explained
from service.diagnostics.words import percent

POINTS: Final = 64
LEAST_POINTS: Final = 16
MOST_POINTS: Final = 256
SHATTERED: Final = 0.5
"""Spectral exponent below which a gradient resembles white noise."""
SMOOTH: Final = 1.0
"""Spectral exponent from which a gradient is smooth."""
REFERENCE_SERIES: Final = 512
"""Series of noise whose autocorrelation is averaged."""
SOURCE: Final = "Balduzzi et al. 2017, figure 1; threshold: Contraflow, docs/verdicts.md"


@dataclass(frozen=True)
class PathMeasures:
    """Measures of the gradients along a path of P points: correlation [P, P], and gradient norm [P]."""

    correlation: Float64
    autocorrelation: Autocorrelation
    spectral_exponent: float
    gradient_norm: Float64


def straight_path(first: Array, second: Array, points: int) -> NDArray[np.float32]:
    """Return P = `points` inputs from `first` to `second`, both included: [P, …] float32."""
    t = np.linspace(0.0, 1.0, points).reshape(-1, *[1] * first.ndim)
    path: NDArray[np.float32] = ((1 - t) * first + t * second).astype(np.float32)
    return path


def noise_image(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return uniform noise, always the same: the second image of a path where only one is given."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def analyse(gradients: Float64) -> PathMeasures:
    """Measure the input gradients [P, …] along a path; NaN where a gradient is 0 or not finite."""
    flat = gradients.reshape(len(gradients), -1)
    norms: Float64 = np.linalg.norm(flat, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = flat / norms[:, None]
    white, brown = references(len(flat))
    lags = list(range(len(flat) // 2))
    return PathMeasures(
        correlation=unit @ unit.T,
        autocorrelation=Autocorrelation(
            lags=lags, mean=autocorrelation(unit).tolist(), white=white.tolist(), brown=brown.tolist()
        ),
        spectral_exponent=spectral_exponent(unit),
        gradient_norm=norms,
    )


def autocorrelation(series: Float64) -> Float64:
    """Return the autocorrelation of [P, D] along the first axis, pooled over the second, by lag 0 … P/2 − 1."""
    centred = series - series.mean(axis=0)
    count = len(centred)
    at_lag = np.array([np.sum(centred[: count - lag] * centred[lag:]) / (count - lag) for lag in range(count // 2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Float64 = at_lag / at_lag[0]
    return result


def spectral_exponent(series: Float64) -> float:
    """Return −slope of log mean power over log frequency, from the second frequency to a quarter of all."""
    centred = (series - series.mean(axis=0)) * np.hanning(len(series))[:, None]
    power = np.mean(np.abs(np.fft.rfft(centred, axis=0)) ** 2, axis=1)
    chosen = np.arange(2, max(5, len(series) // 4))
    if not (np.isfinite(power).all() and (power[chosen] > 0).all()):
        return float("nan")
    return -float(np.polyfit(np.log(chosen), np.log(power[chosen]), 1)[0])


@lru_cache(maxsize=8)
def references(points: int) -> tuple[Float64, Float64]:
    """Return the autocorrelation of white noise and of Brownian motion, by the same estimator."""
    white = np.random.default_rng(0).normal(size=(points, REFERENCE_SERIES))
    return autocorrelation(white), autocorrelation(np.cumsum(white, axis=0))


def judge_path(path: PathMeasures, threshold: float = SHATTERED) -> ShatteringVerdict:
    """Decide by the spectral exponent whether the gradient is shattered, rough or smooth."""
    exponent = path.spectral_exponent
    if not np.isfinite(exponent):
        return _verdict("undetermined", "A gradient along the path is 0 or not finite.", exponent, threshold)
    if exponent < threshold:
        state, bound = "shattered", f"shattered below {threshold:g}"
    elif exponent < SMOOTH:
        state, bound = "rough", f"rough between {threshold:g} and {SMOOTH:g}"
    else:
        state, bound = "smooth", f"smooth from {SMOOTH:g}"
    left = percent(max(0.0, path.autocorrelation.mean[1]))
    seen = f"Along the path, the spectral exponent of the input gradient is {exponent:.2f} ({bound}"
    noise = "white noise has 0, Brownian motion 2"
    return _verdict(state, f"{seen}; {noise}), and {left} of it is left at the next point.", exponent, threshold)


def _verdict(state: str, because: str, value: float, threshold: float) -> ShatteringVerdict:
    return ShatteringVerdict.model_validate(
        {
            **explained("shattered", state, because),
            "state": state,
            "value": value,
            "threshold": threshold,
            "rule": "spectral exponent of the input gradient along the path",
            "source": SOURCE,
        }
    )
