"""The verdict on the gradients of the whole folder, what to try, and the layers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from service.contract.arrays import Float64
from service.contract.bundle_schema import Bundle
from service.contract.dead_channels import fractions_never_alive
from service.contract.loss import LEAST_LOGIT_GRADIENT
from service.diagnostics.baseline import layer_baselines, unlike_itself
from service.diagnostics.gradients import known_dead_fractions, rectified
from service.diagnostics.schemas.base import Explained
from service.diagnostics.schemas.gradients import UnlikeItself
from service.diagnostics.schemas.verdict import State, Verdict
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.explanations import in_repository
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.verdicts.verdict import judge
from service.diagnostics.words import percent, plural
from service.offline.report.markup import Content, folded, number, section, spoken, table, tag
from service.offline.report.tally import Tally

MOST_LAYERS: Final = 60
"""Layers from which their table is folded."""
CHART: Final = 160
"""Width of the chart of a layer, in its own units."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on L layers, with what it looked at.

    Args:
        states: of each layer.
        quantiles: of each layer's relative gradient over the images, at 5, 50 and 95 %, [3, L]; None without images.
        dead: fraction of dead channels, [L]; NaN where it is not known.
        notes: what bounds the verdict beside what it says itself.
    """

    verdict: Verdict
    states: list[State]
    quantiles: Float64 | None
    dead: Float64
    unlike: UnlikeItself | None
    notes: list[str]


def judged(tally: Tally) -> Judgement:
    """Judge the rows that were kept, and the channels of all rows."""
    bundle, thresholds = tally.bundle, Thresholds()
    relative, sizes = tally.norms.rows[:, :-1], tally.norms.rows[:, -1]
    dead, images, recorded = _dead_fractions(tally, thresholds)
    evidence = Evidence(
        names=[layer.name for layer in bundle.layers],
        depths=[layer.depth for layer in bundle.layers],
        relative=relative,
        saturated=np.isnan(relative).all(axis=1) & (sizes < LEAST_LOGIT_GRADIENT),
        finite_logits=np.isfinite(sizes),
        rectified=rectified(bundle),
        dead_fraction=dead,
        dead_images=images,
        dead_recorded=recorded,
        mean_gradient=np.full(len(bundle.layers), np.nan),
    )
    verdict, states = judge(evidence, thresholds)
    baselines = layer_baselines(bundle.baseline, bundle.layers, relative)
    quantiles = None
    if len(relative):
        with np.errstate(invalid="ignore"):
            quantiles = np.quantile(relative, (0.05, 0.5, 0.95), axis=0)
    return Judgement(
        verdict,
        states,
        quantiles,
        dead,
        unlike_itself(bundle.baseline, bundle.layers, baselines) if bundle.baseline and len(relative) else None,
        _notes(tally),
    )


def _dead_fractions(tally: Tally, thresholds: Thresholds) -> tuple[Float64, int, bool]:
    """Return the fraction of dead channels by layer, on how many images, and whether by the bundle's record.

    The record counts only where the folder has too few images to call a channel dead.
    """
    bundle = tally.bundle
    has_enough = tally.decoded >= thresholds.dead_images or bundle.baseline is None
    if tally.living is None or not has_enough:
        return *known_dead_fractions(bundle, None), True
    return fractions_never_alive(bundle.layers, tally.living.alive), tally.decoded, False


def _notes(tally: Tally) -> list[str]:
    """Return what was not looked for, and how much was looked at, where the verdict cannot know it."""
    notes = []
    if tally.norms.step > 1:
        notes.append(
            f"The gradients of every {tally.norms.step}th image were judged, {len(tally.norms.rows):,} of "
            f"{plural(tally.decoded, 'image')}. Dead channels were looked for on all of them."
        )
    if tally.bundle.baseline is None:
        notes.append(
            "Whether the model treats these images as it treats those of its training was not looked for: the bundle "
            "has no record of them (`contraflow record` makes one)."
        )
    if not tally.network.labelled:
        notes.append("Accuracy and wrong labels were not looked for: no image has a label.")
    notes.append("Shattered gradients were not looked for: a running service does, at `POST /diagnostics/shattering`.")
    return notes


def verdict_section(judgement: Judgement, *, accuracy_is_known: bool) -> Element:
    """Return the verdict with its meaning and advice, every further finding, and what was not looked for."""
    verdict = judgement.verdict
    parts: list[Content] = [*_explanation(verdict, accuracy_is_known)]
    told = {verdict.meaning}
    for finding in verdict.findings[1:]:
        parts.append(tag("h3", f"Also {finding.finding}"))
        # One meaning is told once, where two rules of a state fire.
        parts += _explanation(finding, accuracy_is_known) if finding.meaning not in told else [_seen(finding)]
        told.add(finding.meaning)
    if judgement.unlike is not None:
        parts.append(tag("h3", "Unlike its training" if judgement.unlike.unlike else "Like its training"))
        parts += _explanation(judgement.unlike, accuracy_is_known)
    parts.append(tag("h3", "Not looked for"))
    reasons = (*verdict.not_looked_for, *verdict.does_not_apply.values(), *judgement.notes)
    parts.append(tag("ul", *(tag("li", *spoken(reason)) for reason in reasons)))
    return section("verdict", f"Gradients: {verdict.state}", *parts)


def _explanation(found: Explained, accuracy_is_known: bool) -> list[Content]:
    advice = [line for line in found.advice if not (accuracy_is_known and "contraflow diagnose" in line)]
    page, _, anchor = in_repository(found.link).partition("#")
    is_well = isinstance(found, Verdict) and found.state == "healthy"
    return [
        _seen(found),
        tag("p", *spoken(found.meaning)),
        tag("p", tag("b", "What to do next:" if is_well else "What to try, the likeliest first:")) if advice else None,
        tag("ol", *(tag("li", *spoken(line)) for line in advice)) if advice else None,
        tag(
            "p",
            "Measured examples: ",
            tag("code", page),
            f" of Contraflow, section {anchor}; on a running service at ",
            tag("code", f"/{found.link}"),
            ".",
            class_="muted",
        ),
    ]


def _seen(found: Explained) -> Element:
    return tag("p", *spoken(found.because))


def layer_section(judgement: Judgement, bundle: Bundle) -> Element | None:
    """Return a table of the layers in forward order; None where no image could be decoded."""
    if judgement.quantiles is None:
        return None
    scale = _scale(judgement.quantiles)
    rows: list[list[Content]] = []
    for index, layer in enumerate(bundle.layers):
        low, middle, high = (float(value) for value in judgement.quantiles[:, index])
        dead = judgement.dead[index]
        state = judgement.states[index]
        rows.append(
            [
                layer.name,
                str(layer.depth),
                number(low),
                number(middle),
                number(high),
                tag("td", _range(scale, low, middle, high), class_="chart"),
                "no rectifier" if layer.rectifier is None else "not known" if np.isnan(dead) else percent(dead),
                tag("td", state, class_="text state " + ("fine" if state == "healthy" else "sick")),
            ]
        )
    head: Sequence[Content] = (
        "layer", "depth", "5 % of images below", "median", "95 % of images below", "5 % to 95 % and median",
        "dead channels", "verdict",
    )  # fmt: skip
    made = table("Relative gradient of each layer, from the input to the logits", head, rows, "layers")
    words = tag(
        "p",
        "A layer's relative gradient is the gradient of its weights, scaled by their size, divided by the gradient at "
        "the logits: 1 means that the layer is pulled as strongly as the logits. Healthy layers lie within a few tens "
        "of each other, without a steady fall or rise from the logits back to the input. The bars have one "
        "logarithmic scale.",
    )
    if len(rows) > MOST_LAYERS:
        return section("layers", "Layers", words, folded(f"All {len(rows)} layers", made))
    return section("layers", "Layers", words, made)


def _scale(quantiles: Float64) -> tuple[float, float]:
    """Return the powers of ten at both ends of the chart."""
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(quantiles)
    known = decades[np.isfinite(decades)]
    if not known.size:
        return 0.0, 1.0
    return float(np.floor(known.min())), float(np.ceil(known.max() + 1e-9))


def _range(scale: tuple[float, float], low: float, middle: float, high: float) -> Element | None:
    """Return a bar from `low` to `high` with a tick at `middle`; None where there is nothing to draw."""
    if not all(np.isfinite(value) and value > 0 for value in (low, middle, high)):
        return None
    start, end = scale
    left, tick, right = (CHART * (np.log10(value) - start) / (end - start) for value in (low, middle, high))
    return tag(
        "svg",
        tag("rect", x="0", y="8.5", width=str(CHART), height="1", class_="axis"),
        tag("rect", x=f"{left:.1f}", y="5", width=f"{max(right - left, 1):.1f}", height="8", class_="spread"),
        tag("rect", x=f"{tick - 1:.1f}", y="2", width="2", height="14", class_="median"),
        viewBox=f"0 0 {CHART} 18",
        aria_hidden="true",
    )
