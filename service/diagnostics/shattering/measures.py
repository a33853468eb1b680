"""Measures of the gradients along a path.

    correlation          cosine between g(t) and g(t')
    autocorrelation      mean over t and d of A[t,d]·A[t+lag,d], relative to lag 0. A holds the unit gradients less
                         their mean over the path, and d counts the numbers of the input. White noise and Brownian
                         motion of the same length go through the same estimator
    spectral exponent    −slope of log power over log frequency of A (Hann window, mean over d): 0 for white noise,
                         2 for Brownian motion

Each gradient is divided by its norm, so that a path through confident and doubtful regions is judged by direction
alone. The paper averages nets R → R over many initializations; here the thousands of coordinates of the input take
the place of the initializations.

A sum over d needs only A·Aᵀ [P, P]: the products, from which autocorrelation and spectral exponent come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from service.contract.arrays import Float64
from service.diagnostics.schemas.shattering import Autocorrelation

REFERENCE_SERIES: Final = 512
"""Series of noise whose autocorrelation is averaged."""


@dataclass(frozen=True)
class PathMeasures:
    """Measures of the gradients along a path of P points: correlation [P, P], and gradient norm [P]."""

    correlation: Float64
    autocorrelation: Autocorrelation
    spectral_exponent: float
    gradient_norm: Float64


def analyse(gradients: Float64) -> PathMeasures:
    """Measure the input gradients [P, …] along a path; NaN where a gradient is 0 or not finite."""
    flat = gradients.reshape(len(gradients), -1)
    norms: Float64 = np.linalg.norm(flat, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = flat / norms[:, None]
    correlation = unit @ unit.T
    products = products_of(unit)
    white, brown = references(len(flat))
    return PathMeasures(
        correlation=correlation,
        autocorrelation=Autocorrelation(
            lags=list(range(len(flat) // 2)),
            mean=autocorrelation(products).tolist(),
            white=white.tolist(),
            brown=brown.tolist(),
        ),
        spectral_exponent=spectral_exponent(products),
        gradient_norm=norms,
    )


def products_of(series: Float64) -> Float64:
    """Return the products [P, P] of the points of [P, D], less the mean over the points and summed over D."""
    centred = series - series.mean(axis=0)
    products: Float64 = centred @ centred.T
    return products


def autocorrelation(products: Float64) -> Float64:
    """Return the autocorrelation by lag 0 … P/2 − 1, from `products_of` a series."""
    at_lag = np.array([np.diagonal(products, lag).mean() for lag in range(len(products) // 2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Float64 = at_lag / at_lag[0]
    return result


def spectral_exponent(products: Float64) -> float:
    """Return −slope of log mean power over log frequency, from the second frequency to a quarter of all.

    `products` are those of `products_of`; at least three frequencies count.
    """
    points = len(products)
    frequencies = np.arange(2, max(5, points // 4))
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(points)) / points) * np.hanning(points)
    power = ((waves @ products) * waves.conj()).sum(axis=1).real
    if not (np.isfinite(power).all() and (power > 0).all()):
        return float("nan")
    return -float(np.polyfit(np.log(frequencies), np.log(power), 1)[0])


@lru_cache(maxsize=8)
def references(points: int) -> tuple[Float64, Float64]:
    """Return the autocorrelation of white noise and of Brownian motion, by the same estimator."""
    white = np.random.default_rng(0).normal(size=(points, REFERENCE_SERIES))
    return autocorrelation(products_of(white)), autocorrelation(products_of(np.cumsum(white, axis=0)))
