"""One function per finding: when it is one, and why the rule is as it is.

Every rule but "dead" looks at the relative gradient r = scaled_gradient_norm / ‖dL/dlogits‖ of each sample and layer.
Dividing by ‖dL/dlogits‖ makes r independent of the sample's confidence: the small gradient of a confident sample is not
a vanishing one. The scaled norm √Σ_c(‖W_c‖·‖dW_c‖)² does not change when a normalization is folded, or when one layer
is scaled by a and the next by 1/a; so neither does a verdict. The r of a layer is its median over samples, in decades
(log10).

    not finite  forward         the logits are NaN or infinite
                backward        they are finite, and a gradient is NaN or infinite
    exploding   growth          r grows from the last layers to the first: an untrained plain net with
                                BatchNorm gains a factor √(π/(π−1)) ≈ 1.21 per layer (Yang et al. 2019)
                size            r is large in all layers. Growth alone does not see a bad scale: in a rectifier
                                net without normalization Σ W·dW = ⟨dL/dlogits, logits⟩ for every layer (Euler's
                                theorem on homogeneous functions), so r is flat over depth and about as large as
                                the logits, which in a usable classifier are within some tens
    vanishing   decay           r falls from the last layers to the first (a sigmoid chain: 0.6 decades per layer)
                size            r is small in all layers: the signal itself dies on its way to the logits
                zero            a layer's gradient is exactly 0 on every image, and no layer without a living channel
                                explains it
    dead        units           the share of a rectifier's channels that are 0 at every position of every image
    imbalanced  deviation       one layer is far from the trend of the others over depth
    undetermined certainty      every sample is saturated, so no gradient says anything

The default thresholds separate the nets of the corpus in docs/reports/verdicts.md, which has their error rates. A
trained CIFAR net has |slope| ≤ 0.02 decades per layer and r between 0.3 and 60.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.diagnostics.schemas.verdict import Finding, State
from service.diagnostics.verdicts import seen
from service.diagnostics.verdicts.debugger import DEAD_RELU, DEBUGGER
from service.diagnostics.verdicts.evidence import Evidence, named
from service.diagnostics.verdicts.explanations import explained
from service.diagnostics.verdicts.profile import Profile
from service.diagnostics.verdicts.thresholds import OURS, Thresholds
from service.diagnostics.words import power


def not_finite(evidence: Evidence) -> list[Finding]:
    """Find samples whose logits are not finite, and others of which a gradient is not: one is enough."""
    bad = ~np.isfinite(evidence.relative) & ~evidence.saturated[:, None]
    rows = np.asarray(bad.any(axis=1))
    source = f"{DEBUGGER}, ExplodingTensor"
    found = []
    for rule, concerned in (("forward", rows & ~evidence.finite_logits), ("backward", rows & evidence.finite_logits)):
        if concerned.any():
            layers = named(evidence, bad[concerned].any(axis=0))
            because = seen.not_finite(rule, int(concerned.sum()), len(rows), layers)
            found.append(_finding("not finite", rule, because, float(concerned.mean()), 0.0, layers, source))
    return found


def exploding(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[Finding]:
    """Find a relative gradient that grows towards the input, and one that is large throughout."""
    found = []
    limit = math.log10(thresholds.growth_ratio)
    if profile.has_trend and profile.first_over_last >= limit and -profile.slope >= thresholds.decades_per_layer:
        large = named(evidence, profile.typical >= _last(evidence, profile) + limit)
        ratio = power(profile.first_over_last)
        because = seen.growth(profile.slope, ratio, thresholds.growth_ratio, large)
        found.append(_finding("exploding", "growth", because, ratio, thresholds.growth_ratio, large))
    if profile.size >= math.log10(thresholds.largest_size):
        large = named(evidence, profile.typical >= math.log10(thresholds.largest_size))
        size = power(profile.size)
        because = seen.large(size, thresholds.largest_size, large)
        found.append(_finding("exploding", "size", because, size, thresholds.largest_size, large))
    return found


def vanishing(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[Finding]:
    """Find a relative gradient that decays towards the input, is small throughout, or is 0 without a layer all dead."""
    zero = _without_gradient(evidence, profile, thresholds)
    if zero:
        if _is_a_layer_dead_throughout(evidence, thresholds):
            return []
        return [_finding("vanishing", "zero", seen.zero(zero, thresholds.dead_images), 0.0, 0.0, zero)]
    limit = math.log10(thresholds.decay_ratio)
    if profile.has_trend and profile.first_over_last <= limit and profile.slope >= thresholds.decades_per_layer:
        small = named(evidence, profile.typical <= _last(evidence, profile) + limit)
        ratio = power(profile.first_over_last)
        because = seen.decay(profile.slope, ratio, thresholds.decay_ratio, small)
        return [_finding("vanishing", "decay", because, ratio, thresholds.decay_ratio, small)]
    if profile.size <= math.log10(thresholds.smallest_size):
        small = named(evidence, profile.typical <= math.log10(thresholds.smallest_size))
        size = power(profile.size)
        because = seen.small(size, thresholds.smallest_size, small)
        return [_finding("vanishing", "size", because, size, thresholds.smallest_size, small)]
    return []


def _is_a_layer_dead_throughout(evidence: Evidence, thresholds: Thresholds) -> bool:
    """Return whether every channel of some layer is dead, which stops the gradient for all that lies before it."""
    return evidence.dead_images >= thresholds.dead_images and bool((evidence.dead_fraction == 1).any())


def _without_gradient(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[str]:
    """Return the layers whose gradient is exactly 0, if these are the first or half of all, or many images say so.

    A gate inside the network may be shut for some images; so a layer in the middle needs as many as a dead channel.
    """
    if profile.first_over_last == -np.inf or profile.size == -np.inf:
        return named(evidence, profile.typical == -np.inf)
    return named(evidence, profile.never) if profile.samples >= thresholds.dead_images else []


def dead(evidence: Evidence, thresholds: Thresholds) -> list[Finding]:
    """Find layers with more than a share of their channels dead; fewer images than `dead_images` cannot say so.

    Exactly that share is not enough, as in Debugger: a squeeze layer of two channels may well use one of them.
    """
    if evidence.dead_images < thresholds.dead_images:
        return []
    with np.errstate(invalid="ignore"):
        many = evidence.dead_fraction > thresholds.dead_fraction
    if not many.any():
        return []
    worst, layers = float(np.nanmax(evidence.dead_fraction)), named(evidence, many)
    because = seen.dead(evidence, worst, thresholds.dead_fraction, layers)
    return [_finding("dead", "units", because, worst, thresholds.dead_fraction, layers, DEAD_RELU)]


def imbalanced(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[Finding]:
    """Find layers whose relative gradient is far from the trend of all layers over depth."""
    far: NDArray[np.bool_] = np.isfinite(profile.deviation) & (
        np.abs(profile.deviation) >= math.log10(thresholds.deviation_ratio)
    )
    if not profile.has_trend or not far.any():
        return []
    worst = float(max(profile.deviation[far], key=abs))
    layers = named(evidence, far)
    because = seen.imbalanced(worst, thresholds.deviation_ratio, layers)
    return [_finding("imbalanced", "deviation", because, power(abs(worst)), thresholds.deviation_ratio, layers)]


def undetermined(evidence: Evidence) -> Finding:
    """Say that every sample is saturated."""
    because = seen.certain(len(evidence.saturated))
    return _finding("undetermined", "certainty", because, float(evidence.saturated.mean()), 1.0, [])


def _finding(
    state: State, rule: str, because: str, value: float, threshold: float, layers: list[str], source: str = OURS
) -> Finding:
    words = explained(state, rule, because)
    return Finding(**words, finding=state, rule=rule, value=value, threshold=threshold, layers=layers, source=source)


def _last(evidence: Evidence, profile: Profile) -> float:
    """Return the relative gradient of the deepest layer, in decades."""
    return float(profile.typical[np.argmax(evidence.depths)])
