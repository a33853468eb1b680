"""Are the gradients of this network healthy? The rules, and why each is as it is.

Every rule but "dead" looks at the number r = scaled_gradient_norm / ‖dL/dlogits‖ of each sample and layer. Dividing
by ‖dL/dlogits‖ makes r independent of the sample's confidence: the small gradient of a confident sample is not a
vanishing one. The scaled norm √Σ_c(‖W_c‖·‖dW_c‖)² does not change when a normalization is folded, or when one layer
is scaled by a and the next by 1/a; so neither does a verdict. The r of a layer is its median over samples, in decades
(log10).

    exploding   not finite      a gradient is NaN or infinite
                growth          r grows from the last layers to the first: an untrained plain net with
                                BatchNorm gains a factor √(π/(π−1)) ≈ 1.21 per layer (Yang et al. 2019)
                size            r is large in all layers. Growth alone does not see a bad scale: in a rectifier
                                net without normalization Σ W·dW = ⟨dL/dlogits, logits⟩ for every layer (Euler's
                                theorem on homogeneous functions), so r is flat over depth and about as large as
                                the logits, which in a usable classifier are within some tens
    vanishing   decay           r falls from the last layers to the first (a sigmoid chain: 0.6 decades per layer)
                size            r is small in all layers: the signal itself dies on its way to the logits
                zero            the first layers' gradient is exactly 0, and no dead layer explains it
    dead        units           the share of a rectifier's channels that are 0 at every position of every image
    imbalanced  deviation       one layer is far from the trend of the others over depth
    undetermined                every sample is saturated, so no gradient says anything

The default thresholds separate the nets of the corpus in docs/verdicts.md, which has their error rates. A trained
CIFAR net has |slope| ≤ 0.02 decades per layer and r between 0.3 and 60.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, get_args

import numpy as np

from service.contract.arrays import Float64
from service.diagnostics.schemas.verdict import Finding, State, Verdict
from service.diagnostics.verdicts.debugger import DEAD_RELU, DEBUGGER, debugger_rules
from service.diagnostics.verdicts.evidence import Evidence, named

SEVERITY: Final[tuple[State, ...]] = get_args(State)
OURS: Final = "Contraflow, calibrated in docs/verdicts.md"
ENDS: Final = 3
"""Number of layers at either end whose median stands for that end."""
LEAST_LAYERS: Final = 4
"""Number of layers from which growth, decay and deviation are judged."""


def _threshold(default: float, meaning: str, source: str = OURS) -> float:
    """Make a field of `Thresholds` that carries its own documentation."""
    described: float = field(default=default, metadata={"meaning": meaning, "source": source})
    return described


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the rules, which a request may override; decades are powers of ten."""

    decades_per_layer: float = _threshold(0.03, "least slope over depth for growth and decay")
    growth_ratio: float = _threshold(30.0, "first layers over last from which the gradient explodes")
    decay_ratio: float = _threshold(1 / 30.0, "first layers over last down to which the gradient vanishes")
    largest_size: float = _threshold(1e3, "median r over layers from which the network's scale explodes")
    smallest_size: float = _threshold(1e-2, "median r over layers down to which the network's signal vanishes")
    dead_fraction: float = _threshold(0.5, "share of dead channels from which a layer is dead", DEAD_RELU)
    dead_images: float = _threshold(16, "images it takes to call a channel dead")
    deviation_ratio: float = _threshold(100.0, "distance from the trend over depth from which a layer is imbalanced")

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


@dataclass(frozen=True)
class Profile:
    """r of all layers, and its course over depth. All in decades."""

    typical: Float64
    """r of each layer, [L]: its median over usable samples; −inf where the gradient is exactly 0."""
    slope: float
    """Change of r per layer from input to output (Theil-Sen); positive if the gradient shrinks towards the input."""
    first_over_last: float
    size: float
    """Median of r over layers."""
    deviation: Float64
    """Distance of each layer from the line with that slope, [L]."""


def judge(evidence: Evidence, thresholds: Thresholds) -> tuple[Verdict, list[State]]:
    """Return the verdict on the model, and the state of each layer: the worst finding that names it."""
    profile = profile_of(evidence)
    findings = _not_finite(evidence)
    dead = _dead(evidence, thresholds)
    if profile is not None:
        findings += _exploding(evidence, profile, thresholds)
        findings += _vanishing(evidence, profile, thresholds, explained_by_dead=bool(dead))
        findings += dead + _imbalanced(evidence, profile, thresholds)
    else:
        findings += dead
    if profile is None and not findings:
        findings = [_undetermined(evidence)]
    findings.sort(key=lambda finding: SEVERITY.index(finding.finding))
    state = findings[0].finding if findings else "healthy"
    verdict = Verdict(
        state=state,
        because=_because(findings, profile),
        findings=findings,
        debugger=debugger_rules(evidence),
        thresholds={name: float(value) for name, value in vars(thresholds).items()},
    )
    return verdict, [_state_of(name, findings) for name in evidence.names]


def profile_of(evidence: Evidence) -> Profile | None:
    """Return r over depth; None if no sample is finite and unsaturated."""
    usable = ~evidence.saturated & np.isfinite(evidence.relative).all(axis=1)
    if not usable.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        typical: Float64 = np.median(np.log10(evidence.relative[usable]), axis=0)
    typical = np.where(np.isnan(typical), -np.inf, typical)  # NaN is the median of −inf and a number
    depths = np.asarray(evidence.depths, np.float64)
    known = np.isfinite(typical)
    slope = theil_sen(depths[known], typical[known])
    order = np.argsort(depths, kind="stable")
    ends = max(1, min(ENDS, len(order) // 3))
    line = typical - slope * depths
    deviation = line - (_median(line[known]) if known.any() else 0.0)
    first_over_last = _median(typical[order[:ends]]) - _median(typical[order[-ends:]])
    return Profile(typical, slope, first_over_last, _median(typical), deviation)


def theil_sen(x: Float64, y: Float64) -> float:
    """Return the median slope over all pairs of points with different x; 0 if there is no such pair."""
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    pairs = np.triu(dx != 0, 1)
    return _median(dy[pairs] / dx[pairs]) if pairs.any() else 0.0


def _median(values: Float64) -> float:
    """Return the median of numbers without NaN. `np.median` spends longer on checks than the whole verdict takes."""
    ordered: list[float] = np.sort(values).tolist()
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


# ---------------------------------------------------------------- one function per finding


def _not_finite(evidence: Evidence) -> list[Finding]:
    not_finite = ~np.isfinite(evidence.relative) & ~evidence.saturated[:, None]
    if not not_finite.any():
        return []
    share = float(not_finite.any(axis=1).mean())
    rule = "gradient is NaN or infinite (share of samples)"
    return [
        _finding("exploding", rule, share, 0.0, named(evidence, not_finite.any(axis=0)), f"{DEBUGGER}, ExplodingTensor")
    ]


def _exploding(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[Finding]:
    found = []
    limit = math.log10(thresholds.growth_ratio)
    if (
        len(evidence.names) >= LEAST_LAYERS
        and profile.first_over_last >= limit
        and -profile.slope >= thresholds.decades_per_layer
    ):
        last = profile.typical[np.argmax(evidence.depths)]
        large = profile.typical >= last + limit
        rule = "growth: gradient of the first layers over the last"
        found.append(
            _finding("exploding", rule, 10**profile.first_over_last, thresholds.growth_ratio, named(evidence, large))
        )
    if profile.size >= math.log10(thresholds.largest_size):
        large = profile.typical >= math.log10(thresholds.largest_size)
        rule = "size: median over layers of scaled_gradient_norm / ‖dL/dlogits‖"
        found.append(_finding("exploding", rule, _power(profile.size), thresholds.largest_size, named(evidence, large)))
    return found


def _vanishing(
    evidence: Evidence, profile: Profile, thresholds: Thresholds, *, explained_by_dead: bool
) -> list[Finding]:
    limit = math.log10(thresholds.decay_ratio)
    if profile.first_over_last == -np.inf or profile.size == -np.inf:
        if explained_by_dead:
            return []
        zero = named(evidence, profile.typical == -np.inf)
        return [_finding("vanishing", "zero: gradient is exactly 0 although dL/dlogits is not", 0.0, 0.0, zero)]
    found = []
    if (
        len(evidence.names) >= LEAST_LAYERS
        and profile.first_over_last <= limit
        and profile.slope >= thresholds.decades_per_layer
    ):
        last = profile.typical[np.argmax(evidence.depths)]
        rule = "decay: gradient of the first layers over the last"
        small = named(evidence, profile.typical <= last + limit)
        found.append(_finding("vanishing", rule, 10**profile.first_over_last, thresholds.decay_ratio, small))
    if profile.size <= math.log10(thresholds.smallest_size) and not found:
        rule = "size: median over layers of scaled_gradient_norm / ‖dL/dlogits‖"
        small = named(evidence, profile.typical <= math.log10(thresholds.smallest_size))
        found.append(_finding("vanishing", rule, _power(profile.size), thresholds.smallest_size, small))
    return found


def _dead(evidence: Evidence, thresholds: Thresholds) -> list[Finding]:
    if evidence.dead_images < thresholds.dead_images:
        return []
    with np.errstate(invalid="ignore"):
        dead = evidence.dead_fraction >= thresholds.dead_fraction
    if not dead.any():
        return []
    rule = f"units: share of channels that are 0 at every position of {evidence.dead_images} images"
    worst = float(np.nanmax(evidence.dead_fraction))
    return [_finding("dead", rule, worst, thresholds.dead_fraction, named(evidence, dead), DEAD_RELU)]


def _imbalanced(evidence: Evidence, profile: Profile, thresholds: Thresholds) -> list[Finding]:
    if len(evidence.names) < LEAST_LAYERS:
        return []
    far = np.isfinite(profile.deviation) & (np.abs(profile.deviation) >= math.log10(thresholds.deviation_ratio))
    if not far.any():
        return []
    rule = "deviation: factor between a layer's gradient and the trend of all layers"
    worst = _power(float(np.abs(profile.deviation[far]).max()))
    return [_finding("imbalanced", rule, worst, thresholds.deviation_ratio, named(evidence, far))]


def _undetermined(evidence: Evidence) -> Finding:
    rule = "share of samples whose dL/dlogits is 0 in float32"
    return _finding("undetermined", rule, float(evidence.saturated.mean()), 1.0, [])


# ---------------------------------------------------------------- words


def _finding(state: State, rule: str, value: float, threshold: float, layers: list[str], source: str = OURS) -> Finding:
    return Finding(finding=state, rule=rule, value=value, threshold=threshold, layers=layers, source=source)


def _state_of(name: str, findings: list[Finding]) -> State:
    for finding in findings:
        if name in finding.layers or finding.finding == "undetermined":
            return finding.finding
    return "healthy"


def _because(findings: list[Finding], profile: Profile | None) -> str:
    if findings and findings[0].finding != "undetermined":
        return sentence_of(findings[0])
    if profile is None:
        return "Every sample is so confident that its dL/dlogits is 0 in float32: its gradients say nothing."
    return (
        f"The first layers get {10**profile.first_over_last:.2g} times the gradient of the last "
        f"({profile.slope:+.3f} decades per layer), of ordinary size ({_power(profile.size):.2g} times ‖dL/dlogits‖)."
    )


def sentence_of(finding: Finding) -> str:
    """Return the rule, what was measured, and where, in one sentence."""
    where = f", in {listed(finding.layers)}" if finding.layers else ""
    return f"{finding.rule} is {finding.value:.3g} (threshold {finding.threshold:.3g}){where}."


def listed(names: list[str]) -> str:
    """Return the names, or if they are many, their number and the first and last."""
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} layers from {names[0]} to {names[-1]}"


def _power(decades: float) -> float:
    """Return 10^decades, infinite where that is beyond float64."""
    return 10.0**decades if decades < 308 else math.inf
