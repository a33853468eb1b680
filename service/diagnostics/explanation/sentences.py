"""What the maps of a method say and do not say, and what was seen in one of them."""

from __future__ import annotations

import math
from typing import Final

from service.diagnostics.schemas.explanation import Method
from service.diagnostics.words import percent

TRUST: Final = (
    "It shows where the network found what it went by, not whether that is a good reason, and not what it would do "
    "without it. docs/guide/explain-an-answer.md says how far a map can be trusted."
)

MEANINGS: Final[dict[Method, str]] = {
    "grad_cam": "Where the layer responds to what raises the logit of the label, and how strongly (Selvaraju et al. "
    f"2017). Positions that lower it are left out. The map is as coarse as the layer. {TRUST}",
    "integrated_gradients": "What each pixel adds to the logit of the label on the way from the baseline to the "
    "picture: above 0 it speaks for the label, below 0 against it (Sundararajan et al. 2017). A pixel of the "
    f"baseline's colour has no evidence, whatever it shows. {TRUST}",
    "smooth_grad": "How strongly the logit of the label would change with each pixel, on average over noisy copies of "
    "the picture (Smilkov et al. 2017). That is sensitivity, not evidence: it has no sign, and does not add up to the "
    f"logit. {TRUST}",
    "input_x_gradient": "Each pixel times the slope of the logit of the label there: what it adds to first order "
    "(Shrikumar et al. 2016). It is as noisy as a single gradient, and where a network is sure the slope may be small "
    f"although the evidence is large; integrated_gradients has neither fault. {TRUST}",
}
"""What a map of a method says, and what it does not say."""


def what_was_seen(
    method: Method, label: str, where: str, share: float | None, place: str, others: str | None, *, finite: bool
) -> str:
    """Return the finding of one map in words.

    Args:
        label: whose logit is explained.
        where: the layer, or the picture.
        share: of the evidence that speaks for the label; None where there is none, or no sign.
        place: where the map is largest.
        others: what the network predicts instead of the label; None where that is the label itself.
        finite: all numbers of the map are finite.
    """
    instead = "" if others is None else f" The network itself predicts {others}."
    if not finite:
        return f"The evidence for {label} is not finite, so that the map says nothing.{instead}"
    if method == "smooth_grad":
        return f"The logit of {label} is most sensitive to the picture's {_part(place)}.{instead}"
    if share is None:
        return f"{_at(where)} there is no evidence for {label} and none against it.{instead}"
    if share == 0:
        return f"{_at(where)} all evidence is against {label}: nothing speaks for it.{instead}"
    return f"{_at(where)} {percent(share)} of the evidence speaks for {label}, most in the {_part(place)}.{instead}"


def how_complete(difference: float, evidence_sum: float, error: float, bound: float, *, holds: bool) -> str:
    """Return in words whether the evidence adds up to the difference of the logits."""
    adds_up = f"All evidence adds up to {evidence_sum:.3g}; the logit less the baseline's is {difference:.3g}"
    if not math.isfinite(error):
        return f"{adds_up}: how complete the evidence is cannot be said."
    off = f"{percent(error)} off, where up to {percent(bound)} is taken as complete"
    return f"{adds_up}: {off}." if holds else f"{adds_up}: {off}. More `steps`, up to 256, come closer as a rule."


def _at(where: str) -> str:
    return f"At {where}," if where != "the picture" else "In the picture,"


def _part(place: str) -> str:
    return place if place == "middle" else f"{place} part"
