"""The answer of `POST /diagnostics/gradients`: from measured norms to samples, layers and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.contract.dead_channels import dead_fractions
from service.contract.label_kinds import EXCLUSIVE, LabelKind
from service.contract.loss import LEAST_LOGIT_GRADIENT
from service.diagnostics.baseline import layer_baselines, unlike_itself
from service.diagnostics.losses import sample_losses
from service.diagnostics.schemas.gradients import (
    LayerActivations,
    LayerBaseline,
    LayerGradients,
    NoiseScale,
    OtherParameterGradients,
    SampleLosses,
    UnlikeItself,
)
from service.diagnostics.schemas.verdict import State, Verdict
from service.diagnostics.verdicts.evidence import Activations, Evidence
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.verdicts.verdict import judge


@dataclass(frozen=True)
class Measured:
    """Outputs of the graphs that were run for N samples.

    Args:
        norms: outputs of `service.contract.norms.measure`, at least logits, activation, weight and scaled norms.
        labels: of each loss, as `kind` has them; −1 for as predicted.
        runner_up: `measure` again for the runner-up labels, only of the saturated samples, in order.
        activations: outputs of the `activations` graph.
        noise: noise scale of each layer, if it was asked for; `total_noise` is that of all layers together.
        kind: what the labels mean.
    """

    norms: Mapping[str, Array]
    labels: NDArray[np.int64]
    runner_up: Mapping[str, Array] | None = None
    activations: Mapping[str, Array] | None = None
    noise: list[NoiseScale] = field(default_factory=list)
    total_noise: NoiseScale | None = None
    kind: LabelKind = EXCLUSIVE


@dataclass(frozen=True)
class Diagnosis:
    """The parts of the answer that do not depend on which model answers, and how it was asked."""

    samples: SampleLosses
    layers: list[LayerGradients]
    other_parameters: list[OtherParameterGradients]
    unlike_itself: UnlikeItself | None
    verdict: Verdict


@dataclass(frozen=True)
class JudgedNorms:
    """Norms of N samples and L layers, relative to the gradient that each sample starts with.

    Args:
        labels: those of each loss, settled.
        sizes: ‖dL/dlogits‖₂, [N].
        relative: scaled_gradient_norm / ‖dL/dlogits‖, [N, L]; NaN for a saturated sample.
        judged: the same, but with saturated samples measured for their runner-up labels where that was run, [N, L].
        silent: bool [N]; samples that are saturated and not measured for other labels, so that they say nothing.
    """

    labels: NDArray[np.int64]
    sizes: Float64
    relative: Float64
    judged: Float64
    silent: NDArray[np.bool_]


def diagnose(bundle: Bundle, measured: Measured, thresholds: Thresholds) -> Diagnosis:
    """Derive all that `/diagnostics/gradients` says of these samples."""
    norms = measured.norms
    numbers = judged_norms(measured)
    dead, dead_images = known_dead_fractions(bundle, measured.activations)
    parameters = np.array([layer.parameters for layer in bundle.layers], np.float64)
    with np.errstate(invalid="ignore"):
        typical = np.median(norms["weight_gradient_norm"], axis=0) / np.sqrt(parameters)
    evidence = Evidence(
        names=[layer.name for layer in bundle.layers],
        depths=[layer.depth for layer in bundle.layers],
        relative=numbers.judged,
        saturated=numbers.silent,
        finite_logits=np.asarray(np.isfinite(norms["logits"]).all(axis=1)),
        rectified=rectified(bundle),
        dead_fraction=dead,
        dead_images=dead_images,
        dead_recorded=measured.activations is None,
        mean_gradient=typical,
        activations=_activation_evidence(bundle, measured.activations) if measured.activations is not None else None,
    )
    verdict, states = judge(evidence, thresholds)
    # The verdict may use the bundle's record of dead channels; the answer shows only what was measured now.
    measured_dead = dead if measured.activations is not None else np.full(len(bundle.layers), np.nan)
    # Saturated samples are compared by their runner-up labels: a confident network is not unlike itself.
    baselines = layer_baselines(bundle.baseline, bundle.layers, numbers.judged[~numbers.silent])
    layers = _layers(bundle, measured, numbers.judged, measured_dead, baselines, states)
    return Diagnosis(
        samples=sample_losses(bundle, norms["logits"], numbers.labels, numbers.sizes),
        layers=layers,
        other_parameters=_other_parameters(bundle, norms),
        unlike_itself=(unlike_itself(bundle.baseline, bundle.layers, baselines) if bundle.baseline else None),
        verdict=verdict,
    )


def judged_norms(measured: Measured) -> JudgedNorms:
    """Divide the scaled norms by ‖dL/dlogits‖, with saturated samples replaced where they were run again."""
    logits = measured.norms["logits"]
    kind = measured.kind
    labels = kind.settled(logits, measured.labels)
    sizes = kind.logit_gradient_norms(logits, labels)
    relative = relative_norms(measured.norms["scaled_gradient_norm"], sizes)
    saturated = saturated_samples(sizes)
    if measured.runner_up is None:
        return JudgedNorms(labels, sizes, relative, relative, saturated)
    logits = measured.runner_up["logits"]
    judged = relative.copy()
    runner_up_sizes = kind.logit_gradient_norms(logits, kind.runner_up(logits))
    judged[saturated] = relative_norms(measured.runner_up["scaled_gradient_norm"], runner_up_sizes)
    return JudgedNorms(labels, sizes, relative, judged, np.zeros_like(saturated))


def saturated_samples(sizes: Float64) -> NDArray[np.bool_]:
    """Return which samples have a dL/dlogits that float32 cannot hold: the graph propagates 0 for them."""
    result: NDArray[np.bool_] = sizes < LEAST_LOGIT_GRADIENT
    return result


def relative_norms(scaled: Array, sizes: Float64) -> Float64:
    """Return scaled_gradient_norm / ‖dL/dlogits‖, [N, L]; NaN for a saturated sample."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative: Float64 = np.where(saturated_samples(sizes)[:, None], np.nan, scaled / sizes[:, None])
    return relative


def known_dead_fractions(bundle: Bundle, activations: Mapping[str, Array] | None) -> tuple[Float64, int]:
    """Return the fraction of dead channels per layer, [L], and the number of images that it is based on.

    It is computed from `channel_peak` where the activations were measured, else taken from the bundle's record. NaN
    where neither is known, and for a layer without a rectifier.
    """
    if activations is not None:
        peaks = activations["channel_peak"]
        return dead_fractions(bundle.layers, peaks), len(peaks)
    if bundle.baseline is None:
        return np.full(len(bundle.layers), np.nan), 0
    recorded = bundle.baseline.dead_fraction
    return np.array([recorded.get(layer.name, np.nan) for layer in bundle.layers]), bundle.baseline.images


def rectified(bundle: Bundle) -> NDArray[np.bool_]:
    """Return which layers a rectifier follows, [L]."""
    return np.array([layer.rectifier is not None for layer in bundle.layers], bool)


def _activation_evidence(bundle: Bundle, activations: Mapping[str, Array]) -> Activations:
    return Activations(
        mean=activations["activation_mean"].astype(np.float64),
        variance=activations["activation_variance"].astype(np.float64),
        zero_share=activations["activation_zero_share"].astype(np.float64),
        function=bundle.architecture.activation,
    )


def _other_parameters(bundle: Bundle, norms: Mapping[str, Array]) -> list[OtherParameterGradients]:
    if not bundle.other_parameters:
        return []
    return [
        OtherParameterGradients(name=one.name, operator=one.operator, parameters=one.parameters, gradient_norm=column)
        for one, column in zip(bundle.other_parameters, norms["other_gradient_norm"].T.tolist(), strict=True)
    ]


def _layers(
    bundle: Bundle,
    measured: Measured,
    relative: Float64,
    dead: Float64,
    baselines: list[LayerBaseline | None],
    states: list[State],
) -> list[LayerGradients]:
    norms, activations = measured.norms, measured.activations
    weight_norms = np.array([layer.weight_norm for layer in bundle.layers], np.float64)  # None becomes NaN
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms["weight_gradient_norm"] / weight_norms
    # All layers are converted to lists at once: one conversion for each of them takes longer than the verdict.
    activation, weight, scaled = [
        norms[f"{kind}_gradient_norm"].T.tolist() for kind in ("activation", "weight", "scaled")
    ]
    bias = iter(norms["bias_gradient_norm"].T.tolist() if "bias_gradient_norm" in norms else ())
    ratio, divided, dead_fraction = ratios.T.tolist(), relative.T.tolist(), dead.tolist()
    return [
        LayerGradients(
            name=layer.name,
            operator=layer.operator,
            depth=layer.depth,
            shape=list(layer.shape),
            parameters=layer.parameters,
            uses=layer.uses,
            weight_norm=weight_norms[column],
            activation_gradient_norm=activation[column],
            weight_gradient_norm=weight[column],
            scaled_gradient_norm=scaled[column],
            bias_gradient_norm=next(bias) if layer.bias else None,
            gradient_to_weight_ratio=ratio[column],
            relative_gradient_norm=divided[column],
            batch_gradient_norm=(
                float(norms["batch_gradient_norm"][column]) if "batch_gradient_norm" in norms else None
            ),
            dead_fraction=None if math.isnan(dead_fraction[column]) else dead_fraction[column],
            noise_scale=measured.noise[column] if measured.noise else None,
            activations=_activations(column, activations) if activations is not None else None,
            baseline=baselines[column],
            verdict=states[column],
        )
        for column, layer in enumerate(bundle.layers)
    ]


def _activations(column: int, activations: Mapping[str, Array]) -> LayerActivations:
    return LayerActivations(
        mean=activations["activation_mean"][:, column].tolist(),
        variance=activations["activation_variance"][:, column].tolist(),
        zero_share=activations["activation_zero_share"][:, column].tolist(),
    )
