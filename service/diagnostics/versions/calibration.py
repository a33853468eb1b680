"""The expected calibration error of two versions on the same images: can their probabilities be believed?

The images are sorted into 15 bins of equal width by the probability of what is predicted. The error is the mean over
the images of |share of right answers − mean probability| of their bin (Naeini et al. 2015; Guo et al. 2017).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from service.contract.arrays import Array, Float64
from service.diagnostics.schemas.versions import CalibrationFound, Difference
from service.diagnostics.versions.intervals import Z95

BINS: Final = 15
REPLICATES: Final = 200
"""Resamplings of the images, for the interval of the difference: its width is then known to about 5 %."""
SEED: Final = 2017


class Calibration:
    """The bins of both versions, filled image by image, in memory that does not grow with their number.

    Beside the images themselves they are counted `REPLICATES` times with weights drawn from Poisson's distribution of
    mean 1, the same for both versions: a bootstrap that needs the images only once (Chamandy et al. 2012).
    """

    def __init__(self) -> None:
        self._draw = np.random.default_rng(SEED)
        # By version, bin and replicate (the first is the images themselves): Σ weight · (right − probability).
        self._gaps: Float64 = np.zeros((2, BINS, 1 + REPLICATES))
        self._weights: Float64 = np.zeros(1 + REPLICATES)
        self._finite = True

    def take(self, before: tuple[float, bool], now: tuple[float, bool]) -> None:
        """Take in one image: the probability of what each version predicts, 0 to 1, and whether that is right."""
        weights = np.concatenate([[1.0], self._draw.poisson(1.0, REPLICATES)])
        self._weights += weights
        for version, (probability, right) in enumerate((before, now)):
            if not math.isfinite(probability):
                self._finite = False
                continue
            place = min(int(probability * BINS), BINS - 1)
            self._gaps[version, place] += weights * (right - probability)

    def found(self) -> CalibrationFound | None:
        """Return both errors and their difference with its 95 % interval; None where no image was taken in.

        All are NaN where a probability was no number.
        """
        if not self._weights[0]:
            return None
        if not self._finite:
            unknown = Difference(value=math.nan, low=math.nan, high=math.nan)
            return CalibrationFound(before=math.nan, now=math.nan, change=unknown)
        errors: Array = np.abs(self._gaps).sum(axis=1) / np.maximum(self._weights, 1)
        differences = errors[1] - errors[0]
        value, half = float(differences[0]), Z95 * float(differences[1:].std(ddof=1))
        change = Difference(value=value, low=value - half, high=value + half)
        return CalibrationFound(before=float(errors[0, 0]), now=float(errors[1, 0]), change=change)
