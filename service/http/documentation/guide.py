"""The guide to the verdicts: for every state its rules, what fires them, what that means and what to try.

The words are those of `service.diagnostics.verdicts.explanations`; what fires a rule is said from the defaults of the
thresholds. `guide_page` makes HTML of it for `/docs/verdicts`, and `python -m bench.guide` Markdown for
docs/reference/verdicts.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from service.diagnostics import baseline
from service.diagnostics.shattering import verdict as shattering
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.verdicts.explanations import SECTIONS, Explanation, Section
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import factor, multiple, pace, percent

TITLE: Final = "What each verdict means, and what to try"
INTRODUCTION: Final = (
    "A verdict says whether gradients reach the layers of a network in a size that they can learn from. It says "
    "nothing about accuracy. Every layer is judged by its *relative gradient*: the scaled weight gradient, divided by "
    "the gradient at the logits, the median over the images.",
    "All thresholds below are defaults; every request may have its own.",
)


@dataclass(frozen=True)
class Rule:
    """One rule of a state: its name, what fires it, and the words for it."""

    name: str
    fires: str
    explanation: Explanation


@dataclass(frozen=True)
class Threshold:
    """A threshold that requests may override: its name, default, meaning and source."""

    name: str
    default: str
    meaning: str
    source: str


def sections() -> list[tuple[str, Section, list[Rule]]]:
    """Return the anchor, the words and the rules of every section, the worst first."""
    return [(anchor, section, rules_of(anchor, section)) for anchor, section in SECTIONS.items()]


def rules_of(anchor: str, section: Section) -> list[Rule]:
    """Return the rules of a section, with what fires each at the default thresholds."""
    fires = _fires(Thresholds())
    return [Rule(name, fires[anchor, name], explanation) for name, explanation in section.rules.items()]


def thresholds() -> list[Threshold]:
    """Return every threshold, with the one of shattering."""
    own = [
        Threshold(one.name, _number(float(str(one.default))), one.metadata["meaning"], one.metadata["source"])
        for one in fields(Thresholds)
    ]
    meaning = f"spectral exponent of the gradient along a path of {POINTS} points, below which it is shattered"
    return [*own, Threshold("shattered", _number(shattering.SHATTERED), meaning, shattering.SOURCE)]


def _number(value: float) -> str:
    """Return a default as one would write it: `30`, `0.03`, `1/30`."""
    text = f"{value:g}"
    return text if float(text) == value else f"1/{1 / value:g}"


def _fires(limit: Thresholds) -> dict[tuple[str, str], str]:
    """Return, by anchor and rule, a sentence that says what fires the rule."""
    steadily = f"steadily, {pace(limit.decades_per_layer)} or faster"
    rough = f"{shattering.SHATTERED:g} and {shattering.SMOOTH:g}"
    unlike = f"more than {percent(baseline.MODEL_SHARE)} of the layers, more than {percent(baseline.LAYER_SHARE)}"
    return {
        ("healthy", "no finding"): "No other rule fires.",
        ("not-finite", "forward"): "The logits of an image are NaN or infinite.",
        ("not-finite", "backward"): "The logits are finite, but a gradient of an image is NaN or infinite.",
        ("exploding", "growth"): f"The first layers get {multiple(limit.growth_ratio)} the gradient of the last or "
        f"more, and it grows towards the input {steadily}.",
        ("exploding", "size"): f"The median layer gets {multiple(limit.largest_size)} the gradient at the logits or "
        "more.",
        ("vanishing", "decay"): f"The first layers get {multiple(limit.decay_ratio)} the gradient of the last or "
        f"less, and it shrinks towards the input {steadily}.",
        ("vanishing", "size"): f"The median layer gets {multiple(limit.smallest_size)} the gradient at the logits or "
        "less.",
        ("vanishing", "zero"): f"On every one of {limit.dead_images:g} images or more, the gradient of a layer is "
        "exactly 0, or on most images that of the first layers or of half of all, although the one at the logits is "
        "not and no layer that is dead throughout explains it.",
        ("dead", "units"): f"Of the channels behind a rectifier, more than {percent(limit.dead_fraction)} are 0 at "
        f"every position of all images, and there are at least {limit.dead_images:g} images.",
        ("imbalanced", "deviation"): f"The gradient of a layer is {factor(limit.deviation_ratio)} times as large as "
        "the trend of all layers says or more, or so much smaller.",
        ("undetermined", "certainty"): "On every image the network is so certain that the gradient at the logits is 0 "
        "in single precision.",
        ("shattered", "shattered"): f"The spectral exponent is below {shattering.SHATTERED:g}.",
        ("shattered", "rough"): f"The spectral exponent is between {rough}.",
        ("shattered", "smooth"): f"The spectral exponent is {shattering.SMOOTH:g} or more.",
        ("shattered", "undetermined"): "The gradient is 0 or not finite at some point of the path.",
        ("unlike-itself", "unlike"): f"In {unlike} of the images are outside the recorded range.",
        ("unlike-itself", "like"): "In all other cases.",
    }
