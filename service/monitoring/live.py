"""Gradients of the last sampled images of one model, compared with its training images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from service.contract.arrays import Float64
from service.contract.bundle_schema import Bundle
from service.contract.reference import ReferenceStatistics
from service.diagnostics.baseline import layer_baselines
from service.diagnostics.gradients import Measured, judged_norms
from service.diagnostics.schemas.gradients import LayerBaseline
from service.diagnostics.scores import layer_norm_distance

SampleOutcome = Literal["measured", "dropped", "failed"]
"""Fate of an image that was drawn for measurement."""

WINDOW: Final = 256
"""Number of images that the numbers are computed from."""


@dataclass(frozen=True)
class LiveLayer:
    """One layer over the window: the median of its relative norm, and its comparison with the bundle's record."""

    name: str
    median: float
    baseline: LayerBaseline | None

    @property
    def ratio(self) -> float:
        """The median divided by that of the training images; NaN without a record."""
        return self.median / self.baseline.median if self.baseline is not None and self.baseline.median else np.nan


class LiveGradients:
    """The last `WINDOW` images of one model, and how many of all were measured, dropped and failed."""

    def __init__(self, bundle: Bundle, reference: ReferenceStatistics | None = None) -> None:
        self._bundle = bundle
        self._reference = reference
        self._distances: Float64 = np.empty(WINDOW)
        self._rows: Float64 = np.empty((WINDOW, len(bundle.layers)))
        self.counts: Counter[SampleOutcome] = Counter({"measured": 0, "dropped": 0, "failed": 0})

    def add(self, measured: Measured) -> None:
        """Add one image, measured for its predicted class; a gradient that is NaN counts as infinite."""
        numbers = judged_norms(measured)
        place = self.counts["measured"] % WINDOW
        self._rows[place] = np.where(np.isnan(numbers.judged[0]), np.inf, numbers.judged[0])
        self._distances[place] = np.nan
        if self._reference is not None and measured.runner_up is None and not numbers.silent[0]:
            self._distances[place] = layer_norm_distance(measured.norms, self._reference)[0]
        self.counts["measured"] += 1

    @property
    def distance(self) -> float | None:
        """Median of layer_norm_distance / √layers, about 1 on images like the training's; None if unknown."""
        distances = self._distances[: self.counts["measured"]]
        known = np.sort(distances[~np.isnan(distances)])
        return float(known[(len(known) - 1) // 2] / len(self._bundle.layers) ** 0.5) if len(known) else None

    def layers(self) -> list[LiveLayer]:
        """Return the layers in forward order; none before the first image."""
        window = self._rows[: self.counts["measured"]]
        if not len(window):
            return []
        layers = self._bundle.layers
        compared = layer_baselines(self._bundle.baseline, layers, window)
        # The lower median is the value of one image, so that infinite ones beside it cannot make it NaN.
        medians = np.sort(window, axis=0)[(len(window) - 1) // 2]
        return [
            LiveLayer(layer.name, float(median), one)
            for layer, median, one in zip(layers, medians, compared, strict=True)
        ]
