"""Decides by the spectral exponent whether the gradient along a path is shattered, rough or smooth.

The bounds are set for 64 points. With fewer, neighbours on the path are further apart, and the same gradient looks
rougher; with more, smoother. `bound_at` therefore carries a bound over to another number, by the gradient of a model:
one whose correlation falls with the distance d along the path as 1 / (1 + d/s)². For the length s at which its
exponent with 64 points is the bound, its exponent with P points is the bound for P. `python -m bench.verdict_points`
holds this against networks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from service.diagnostics.schemas.shattering import ShatteringVerdict
from service.diagnostics.shattering.measures import PathMeasures, spectral_exponent
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.verdicts.explanations import explained
from service.diagnostics.words import percent

SHATTERED: Final = 0.5
"""Spectral exponent with 64 points, below which a gradient resembles white noise."""
SMOOTH: Final = 1.0
"""Spectral exponent with 64 points, from which a gradient is smooth."""
SHORTEST, LONGEST = 1e-4, 10.0
"""Lengths s of the model, in parts of the path, between which every bound of use lies."""
HALVINGS: Final = 40
SOURCE: Final = "Balduzzi et al. 2017, figure 1; threshold: Contraflow, docs/reports/verdicts.md"


def judge_path(path: PathMeasures, threshold: float = SHATTERED) -> ShatteringVerdict:
    """Judge a path of any number of points; `threshold` is the bound of shattering with 64 points."""
    exponent, points = path.spectral_exponent, len(path.gradient_norm)
    shattered, smooth = bound_at(points, threshold), bound_at(points, SMOOTH)
    if not np.isfinite(exponent):
        return _verdict("undetermined", "A gradient along the path is 0 or not finite.", exponent, shattered)
    state = state_of(exponent, shattered, smooth)
    bounds = {
        "shattered": f"shattered below {shattered:g}",
        "rough": f"rough between {shattered:g} and {smooth:g}",
        "smooth": f"smooth from {smooth:g}",
    }
    of_points = "" if points == POINTS else f" with {points} points"
    left = percent(max(0.0, path.autocorrelation.mean[1]))
    seen = f"Along the path, the spectral exponent of the input gradient is {exponent:.2f} ({bounds[state]}{of_points}"
    noise = "white noise has 0, Brownian motion 2"
    return _verdict(state, f"{seen}; {noise}), and {left} of it is left at the next point.", exponent, shattered)


def state_of(exponent: float, shattered: float, smooth: float) -> str:
    """Return the state of a gradient with a finite spectral exponent, by the two bounds."""
    if exponent < shattered:
        return "shattered"
    return "rough" if exponent < smooth else "smooth"


@lru_cache(maxsize=256)
def bound_at(points: int, bound: float) -> float:
    """Return the spectral exponent with `points` of a gradient that has the exponent `bound` with 64.

    With two digits after the point. A bound that no gradient of the model has is the same for every number of points.
    """
    low, high = SHORTEST, LONGEST
    if points == POINTS or not model_exponent(POINTS, low) < bound < model_exponent(POINTS, high):
        return bound
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if model_exponent(POINTS, middle) < bound else (low, middle)
    return round(model_exponent(points, high), 2)


def model_exponent(points: int, length: float) -> float:
    """Return the spectral exponent of the model's gradient with that length, in parts of the path."""
    t = np.linspace(0.0, 1.0, points)
    correlation = (1 + np.abs(t[:, None] - t) / length) ** -2.0
    centre = np.eye(points) - 1 / points
    return spectral_exponent(centre @ correlation @ centre)


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
