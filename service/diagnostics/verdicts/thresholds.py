"""Thresholds of the rules, each with its meaning and source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from service.diagnostics.verdicts.debugger import DEAD_RELU

OURS: Final = "Contraflow, calibrated in docs/reports/verdicts.md"


def _threshold(default: float, meaning: str, source: str = OURS) -> float:
    """Make a field of `Thresholds` that carries its own documentation."""
    described: float = field(default=default, metadata={"meaning": meaning, "source": source})
    return described


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the rules, which a request may override."""

    decades_per_layer: float = _threshold(
        0.03,
        "least steady change over depth with which a gradient grows or decays, in powers of ten per layer "
        "(0.03: tenfold every 33 layers)",
    )
    growth_ratio: float = _threshold(
        30.0, "relative gradient of the first layers over that of the last, from which it explodes"
    )
    decay_ratio: float = _threshold(1 / 30.0, "the same ratio, down to which it vanishes")
    largest_size: float = _threshold(1e3, "relative gradient of the median layer from which the scale explodes")
    smallest_size: float = _threshold(1e-2, "the same size, down to which the signal vanishes")
    dead_fraction: float = _threshold(0.5, "share of dead channels above which a layer is dead", DEAD_RELU)
    dead_images: float = _threshold(16, "images it takes to call a channel dead")
    deviation_ratio: float = _threshold(
        100.0, "factor between a layer's relative gradient and the trend over depth, from which it is imbalanced"
    )

    def overridden(self, given: Mapping[str, float]) -> Thresholds:
        """Return these thresholds with the `given` ones in place.

        Raises:
            ValueError: a name is not known, or a value is not positive and finite.
        """
        known = {one.name for one in fields(self)}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"unknown threshold {name!r}; known: {', '.join(sorted(known))}")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"threshold {name} must be a positive number, got {value}")
        return Thresholds(**{**vars(self), **given})
