"""The relative gradient over depth: its size, its trend, and each layer's distance from the trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Float64
from service.diagnostics.verdicts.evidence import Evidence

ENDS: Final = 3
"""Number of layers at either end whose median stands for that end, at most."""
LEAST_LAYERS: Final = 4
"""Number of layers from which there is a trend over depth."""


@dataclass(frozen=True)
class Profile:
    """r of all layers, and its course over depth. All in decades."""

    typical: Float64
    """r of each layer, [L]: its median over usable samples; −inf where the gradient is exactly 0."""
    slope: float
    """Change of r per layer from input to output (Theil-Sen); positive if the gradient shrinks towards the input."""
    first_over_last: float
    size: float
    """Median of r over layers."""
    deviation: Float64
    """Distance of each layer from the line with that slope, [L]."""
    never: NDArray[np.bool_]
    """Layers whose gradient is exactly 0 on every usable sample, [L]."""
    samples: int
    """Number of usable samples: finite and not saturated."""

    @property
    def has_trend(self) -> bool:
        """True where the network has layers enough for growth, decay and deviation to mean something."""
        return len(self.typical) >= LEAST_LAYERS


def profile_of(evidence: Evidence) -> Profile | None:
    """Return r over depth; None if no sample is finite and unsaturated."""
    usable = ~evidence.saturated & np.isfinite(evidence.relative).all(axis=1)
    if not usable.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        typical: Float64 = np.median(np.log10(evidence.relative[usable]), axis=0)
    typical = np.where(np.isnan(typical), -np.inf, typical)  # NaN is the median of −inf and a number
    depths = np.asarray(evidence.depths, np.float64)
    known = np.isfinite(typical)
    slope = theil_sen(depths[known], typical[known])
    order = np.argsort(depths, kind="stable")
    ends = layers_at_an_end(len(order))
    line = typical - slope * depths
    deviation = line - (_median(line[known]) if known.any() else 0.0)
    first_over_last = _median(typical[order[:ends]]) - _median(typical[order[-ends:]])
    never = np.asarray((evidence.relative[usable] == 0).all(axis=0))
    return Profile(typical, slope, first_over_last, _median(typical), deviation, never, int(usable.sum()))


def layers_at_an_end(layers: int) -> int:
    """Return how many of so many layers stand for either end."""
    return max(1, min(ENDS, layers // 3))


def theil_sen(x: Float64, y: Float64) -> float:
    """Return the median slope over all pairs of points with different x; 0 if there is no such pair."""
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    pairs = np.triu(dx != 0, 1)
    return _median(dy[pairs] / dx[pairs]) if pairs.any() else 0.0


def _median(values: Float64) -> float:
    """Return the median of numbers without NaN. `np.median` spends longer on checks than the whole verdict takes."""
    ordered: list[float] = np.sort(values).tolist()
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
