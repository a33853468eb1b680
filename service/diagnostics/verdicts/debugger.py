"""Rules of Amazon SageMaker Debugger, applied to the same numbers at their documented defaults.

Only the rules that can be applied to a served model are here. docs/reference/verdicts.md lists all twenty, and says why
the others are not.

    VanishingGradient         a tensor's mean absolute gradient is below 1e-7; we compare the root mean square, which
                              is at least as large
    ExplodingTensor           a gradient is NaN or infinite
    DeadRelu                  over half of a layer's units are dead
    AllZero                   a layer's gradient, or its rectifier's output, is 0 everywhere on every sample
    PoorWeightInitialization  the variance of the rectifiers' inputs is over 10 times as large in one layer as in
                              another; meant for the first steps of a training without normalization
    SaturatedActivation       over half of a layer's tanh inputs are beyond ±9.4999, or of its sigmoid inputs below −23
                              or above 16.99999; estimated from mean and variance, for normally distributed inputs
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Float64
from service.diagnostics.schemas.verdict import DebuggerRule
from service.diagnostics.verdicts.evidence import Activations, Evidence, named

DEBUGGER: Final = "Amazon SageMaker Debugger"
DEAD_RELU: Final = f"{DEBUGGER}, DeadRelu"
SMALL_GRADIENT: Final = 1e-7
FIRING_SHARE: Final = 0.5
VARIANCE_RATIO: Final = 10.0
SATURATION_BOUNDS: Final = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23.0, 16.99999)}


def debugger_rules(evidence: Evidence) -> list[DebuggerRule]:
    """Apply every rule that these numbers suffice for; the result has those that do not fire, too."""
    rules = [_vanishing_gradient(evidence), _exploding_tensor(evidence)]
    if np.isfinite(evidence.dead_fraction).any():
        rules.append(_dead_relu(evidence))
    rules.append(_all_zero(evidence))
    if evidence.activations is not None:
        if evidence.rectified.sum() > 1:
            rules.append(_poor_weight_initialization(evidence, evidence.activations))
        if evidence.activations.function in SATURATION_BOUNDS:
            rules.append(_saturated_activation(evidence, evidence.activations))
    return rules


def _vanishing_gradient(evidence: Evidence) -> DebuggerRule:
    values = evidence.mean_gradient
    least = float(np.nanmin(values)) if np.isfinite(values).any() else math.nan
    return _rule("VanishingGradient", evidence, np.asarray(values < SMALL_GRADIENT), least, SMALL_GRADIENT)


def _exploding_tensor(evidence: Evidence) -> DebuggerRule:
    not_finite = ~np.isfinite(evidence.relative) & ~evidence.saturated[:, None]
    return _rule("ExplodingTensor", evidence, not_finite.any(axis=0), float(not_finite.any(axis=1).mean()), 0.0)


def _dead_relu(evidence: Evidence) -> DebuggerRule:
    with np.errstate(invalid="ignore"):
        dead = evidence.dead_fraction > FIRING_SHARE
    return _rule("DeadRelu", evidence, dead, float(np.nanmax(evidence.dead_fraction)), FIRING_SHARE)


def _all_zero(evidence: Evidence) -> DebuggerRule:
    usable = evidence.relative[~evidence.saturated]
    zero = (usable == 0).all(axis=0) if len(usable) else np.zeros(len(evidence.names), bool)
    if evidence.activations is not None:
        zero |= evidence.rectified & (evidence.activations.zero_share == 1).all(axis=0)
    return _rule("AllZero", evidence, zero, float(zero.mean()), 0.0)


def _poor_weight_initialization(evidence: Evidence, activations: Activations) -> DebuggerRule:
    variance = activations.variance.mean(axis=0)
    rectified = variance[evidence.rectified]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(rectified.max() / rectified.min())
    far = evidence.rectified & (variance * VARIANCE_RATIO < rectified.max())
    return _rule("PoorWeightInitialization", evidence, far, ratio, VARIANCE_RATIO)


def _saturated_activation(evidence: Evidence, activations: Activations) -> DebuggerRule:
    low, high = SATURATION_BOUNDS[str(activations.function)]
    deviation = np.sqrt(np.maximum(activations.variance, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = (low - activations.mean) / deviation, (activations.mean - high) / deviation
    beyond = _normal_below(below) + _normal_below(above)
    share = np.nan_to_num(beyond[:, :-1].mean(axis=0))  # the last layer's outputs are logits
    saturated = np.append(share > FIRING_SHARE, False)
    return _rule("SaturatedActivation", evidence, saturated, float(share.max(initial=0.0)), FIRING_SHARE)


def _normal_below(z: Float64) -> Float64:
    """Return the share of a standard normal distribution below z."""
    result: Float64 = np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))(z)
    return result


def _rule(
    name: str, evidence: Evidence, fires: NDArray[np.bool_] | np.bool_, value: float, threshold: float
) -> DebuggerRule:
    return DebuggerRule(
        rule=name, fires=bool(fires.any()), value=value, threshold=threshold, layers=named(evidence, fires)
    )
