"""Which version is faster: one image through the forward graphs of both, in turns, in this process."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.diagnostics.schemas.versions import Difference
from service.offline.against.outcome import Speed
from service.offline.against.versions import LocalVersion
from service.offline.made_pictures import made_pictures
from service.offline.model import finished

TURNS: Final = 41
"""Odd, so that one turn is the median."""
RANKS: Final = (14, 28)
"""Places, from 1, of the turns that are the ends of the 95 % interval of a median of 41, by the binomial
distribution: it holds the true median in 97.2 % of all cases."""
SLOT: Final = 0.01
"""Seconds that one version runs in each turn, about."""
FEWEST: Final = 5
"""Runs of one version in each turn, at least."""


def speed_of(old: LocalVersion, new: LocalVersion) -> Speed:
    """Measure both versions. A turn runs first the one, then the other, the next turn the other way round."""
    sides = [(version, made_pictures(1, version.input)) for version in (old, new)]
    counts = [max(FEWEST, round(SLOT / max(_seconds(version, picture, FEWEST), 1e-6))) for version, picture in sides]
    taken: NDArray[np.float64] = np.empty((TURNS, 2))
    for turn in range(TURNS):
        for side in (0, 1) if turn % 2 else (1, 0):
            taken[turn, side] = _seconds(*sides[side], counts[side])
    ratios = np.sort(taken[:, 1] / taken[:, 0])
    low, high = (float(ratios[rank - 1]) for rank in RANKS)
    before, now = (float(median) for median in 1e3 * np.median(taken, axis=0))
    return Speed(
        before=before,
        now=now,
        ratio=Difference(value=float(np.median(ratios)), low=low, high=high),
        turns=TURNS,
        execution_provider=new.model.runtime.provider,
    )


def _seconds(version: LocalVersion, picture: NDArray[np.uint8], runs: int) -> float:
    """Return the seconds of the fastest of several runs: what else the machine does can only make a run slower."""
    fastest = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        finished(version.model.run("forward", picture))
        fastest = min(fastest, time.perf_counter() - began)
    return fastest
