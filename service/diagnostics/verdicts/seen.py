"""Says what was seen, in one sentence per rule: the number, its threshold in words, and the layers.

A sentence compares every number with the bound that decided, and so never argues against the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from service.diagnostics.verdicts.evidence import Evidence, named
from service.diagnostics.verdicts.profile import Profile
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import factor, listed, multiple, pace, percent, plural, power

NO_PROFILE: Final = (
    "Vanishing, exploding and imbalanced gradients were not looked for: no image has a finite gradient that is not 0."
)
CHANNELS_NOT_MEASURED: Final = (
    "Dead channels were not looked for: the channels' activations were not measured on these images (that takes the "
    "graph `activations`, which not every bundle has), and the bundle has no record of them."
)
NO_LOGITS: Final = "Dead channels were not looked for: on every image the logits are NaN or infinite."
NO_RECTIFIER: Final = "There are no channels that could be dead: no layer is followed by a rectifier."


def too_few(images: int, thresholds: Thresholds) -> str:
    """Say that dead channels were not looked for, since too few images, given or recorded, tell which they are."""
    known = f"the activations of {plural(images, 'image')} are known"
    return f"Dead channels were not looked for: {known}, and {thresholds.dead_images:g} images are needed."


def few_layers(layers: int, least: int) -> str:
    """Say that there is no trend over depth, so that gradients are judged by their size alone."""
    return (
        f"Growth, decay and imbalance over depth are judged from {least} layers on, and there "
        f"{'is' if layers == 1 else 'are'} {layers}: with so few, size alone is judged."
    )


def not_finite(rule: str, count: int, images: int, layers: Sequence[str]) -> str:
    """Say on how many images the logits, or only the gradients, are not finite."""
    where = f"On {count} of {plural(images, 'image')}"
    if rule == "forward":
        return f"{where} the logits are NaN or infinite, and so is every gradient (one image is enough)."
    return f"{where} the logits are finite, but the gradient is NaN or infinite (one image is enough){_in(layers)}."


def growth(slope: float, ratio: float, threshold: float, layers: Sequence[str]) -> str:
    """Say how fast the relative gradient grows towards the input."""
    return (
        f"Back from the last layers to the first, the gradient grows {pace(slope)}: the first get "
        f"{multiple(ratio)} the gradient of the last (exploding from {_bound(threshold)}){_in(layers)}."
    )


def decay(slope: float, ratio: float, threshold: float, layers: Sequence[str]) -> str:
    """Say how fast the relative gradient shrinks towards the input."""
    return (
        f"Back from the last layers to the first, the gradient shrinks {pace(slope)}: the first get "
        f"{multiple(ratio)} the gradient of the last (vanishing from {_bound(threshold)} down){_in(layers)}."
    )


def large(size: float, threshold: float, layers: Sequence[str]) -> str:
    """Say by how much the relative gradient of the median layer is too large."""
    return (
        f"The gradient is too large throughout: the median layer gets {multiple(size)} the gradient at the logits "
        f"(exploding from {_bound(threshold)}){_in(layers)}."
    )


def small(size: float, threshold: float, layers: Sequence[str]) -> str:
    """Say by how much the relative gradient of the median layer is too small."""
    return (
        f"The gradient is too small throughout: the median layer gets {multiple(size)} the gradient at the logits "
        f"(vanishing from {_bound(threshold)} down){_in(layers)}."
    )


def zero(layers: Sequence[str], images: float) -> str:
    """Say where the gradient is exactly 0."""
    enough = f"one such layer is enough on {images:g} images, the first layers or half of all on any"
    return f"The relative gradient is exactly 0{_in(layers)}, although the one at the logits is not ({enough})."


def dead(evidence: Evidence, worst: float, threshold: float, layers: Sequence[str]) -> str:
    """Say which share of the channels never fires, where, and on which images.

    A layer that is dead throughout comes first, because those behind it always get the same input.
    """
    images = plural(evidence.dead_images, "training image" if evidence.dead_recorded else "image")
    record = " of the bundle's record" if evidence.dead_recorded else ""
    always = f"0 at every position of all {images}{record}"
    bound = f"a layer is dead from over {percent(threshold)}"
    if worst == 1:
        first, others = named(evidence, evidence.dead_fraction == 1)[0], len(layers) - 1
        behind = f", and so are over {percent(threshold)} in {plural(others, 'other layer')}" if others else ""
        return f"In {listed([first])}, every channel is {always}{behind} ({bound})."
    share = f"{'up to ' if len(layers) > 1 else ''}{_told_apart(worst, threshold)} of the channels are"
    return f"In {listed(layers)}, {share} {always} ({bound})."


def imbalanced(decades: float, threshold: float, layers: Sequence[str]) -> str:
    """Say how far the gradient of some layers is from the trend over depth."""
    how = "larger" if decades > 0 else "smaller"
    distance = ("up to " if len(layers) > 1 else "") + factor(power(abs(decades)))
    return (
        f"In {listed(layers)}, the gradient is {distance} times {how} than the trend of all "
        f"layers says (imbalanced from {factor(threshold)} times)."
    )


def certain(images: int) -> str:
    """Say that every image is saturated."""
    on = "On the only image" if images == 1 else f"On all {images:,} images"
    return f"{on}, the network is so certain that the gradient at the logits is 0 in single precision."


def healthy(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> str:
    """Say how the gradient changes over depth, how large it is, and how many channels are dead at most."""
    parts = [_over_depth(profile, thresholds), _size(profile, thresholds)]
    known = evidence.dead_fraction[np.isfinite(evidence.dead_fraction)]
    if known.size and evidence.dead_images >= thresholds.dead_images:
        most, bound = percent(float(known.max())), percent(thresholds.dead_fraction)
        parts.append(f"at most {most} of a layer's channels are dead (healthy up to {bound})")
    return f"{', '.join(parts[:-1])}, and {parts[-1]}."


def _over_depth(profile: Profile, thresholds: Thresholds) -> str:
    """Say what the first layers get of the last ones' gradient, and why that is healthy."""
    if not profile.has_trend:
        return f"The network has {plural(len(profile.typical), 'layer')}, too few for a trend over depth"
    ratio = power(profile.first_over_last)
    between = f"healthy between {_bound(thresholds.decay_ratio)} and {_bound(thresholds.growth_ratio)}"
    if not thresholds.decay_ratio < ratio < thresholds.growth_ratio:
        steep = pace(thresholds.decades_per_layer)
        between = f"healthy, because it does not change steadily over the layers between, by {steep} or faster"
    return f"The first layers get {multiple(ratio)} the gradient of the last ({between})"


def _size(profile: Profile, thresholds: Thresholds) -> str:
    between = f"healthy between {_bound(thresholds.smallest_size)} and {_bound(thresholds.largest_size)}"
    return f"the median layer gets {multiple(power(profile.size))} the gradient at the logits ({between})"


def _told_apart(share: float, bound: float) -> str:
    """Return a share in percent, with four digits where it would look like the bound that it is over."""
    return percent(share) if percent(share) != percent(bound) else f"{100 * share:.4g} %"


def _bound(threshold: float) -> str:
    """Return a threshold of a ratio: `30 times`, `1/30`."""
    return multiple(threshold).removesuffix(" of")


def _in(layers: Sequence[str]) -> str:
    return f", in {listed(layers)}" if layers else ""
