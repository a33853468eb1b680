"""Tells which findings a verdict looked for: each was, or cannot be in such a network, or could not be looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from service.diagnostics.schemas.verdict import State
from service.diagnostics.verdicts import seen
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.profile import LEAST_LAYERS, Profile
from service.diagnostics.verdicts.thresholds import Thresholds

FINDINGS: Final[tuple[State, ...]] = tuple(
    state for state in get_args(State) if state not in ("undetermined", "healthy")
)
"""States that a model may be sick of, the worst first."""


@dataclass(frozen=True)
class LookedFor:
    """The findings that were not looked for, each with the reason in a sentence.

    `impossible` ones cannot be in such a network; for `missed` ones these images or graphs do not suffice.
    """

    impossible: Mapping[State, str]
    missed: Mapping[State, str]

    @property
    def findings(self) -> list[State]:
        """The findings that were looked for, found or not, the worst first."""
        return [one for one in FINDINGS if one not in self.impossible and one not in self.missed]


def looked_for(evidence: Evidence, profile: Profile | None, thresholds: Thresholds) -> LookedFor:
    """Return what the numbers suffice for; `profile` is None where no gradient can be judged."""
    impossible: dict[State, str] = {}
    missed: dict[State, str] = {}
    if not evidence.rectified.any():
        impossible["dead"] = seen.NO_RECTIFIER
    elif (reason := _why_channels_are_unknown(evidence, thresholds)) is not None:
        missed["dead"] = reason
    if len(evidence.names) < LEAST_LAYERS:
        impossible["imbalanced"] = seen.few_layers(len(evidence.names), LEAST_LAYERS)
    if profile is None:
        gradients: tuple[State, ...] = ("exploding", "vanishing", "imbalanced")
        missed |= {one: seen.NO_PROFILE for one in gradients if one not in impossible}
    return LookedFor(impossible, missed)


def _why_channels_are_unknown(evidence: Evidence, thresholds: Thresholds) -> str | None:
    """Return why dead channels were not looked for; None if they were."""
    if not evidence.finite_logits.any() and not (evidence.dead_fraction > thresholds.dead_fraction).any():
        return seen.NO_LOGITS
    images, unknown = len(evidence.saturated), evidence.rectified & np.isnan(evidence.dead_fraction)
    if unknown.any():
        return seen.CHANNELS_NOT_MEASURED if images >= thresholds.dead_images else seen.too_few(images, thresholds)
    return None if evidence.dead_images >= thresholds.dead_images else seen.too_few(evidence.dead_images, thresholds)
