"""`/diagnostics/gradients`: from measured norms to the answer, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import Bundle, Layer
from service.contract.dead import dead_shares
from service.contract.norms import SATURATED, logit_gradients, loss_labels, losses, probabilities
from service.diagnostics.baseline import layer_baselines, unlike_itself
from service.diagnostics.schemas import (
    LayerActivations,
    LayerBaseline,
    LayerGradients,
    NoiseScale,
    OtherParameterGradients,
    SampleLoss,
    State,
    UnlikeItself,
    Verdict,
)
from service.diagnostics.verdicts.evidence import Activations, Evidence
from service.diagnostics.verdicts.verdict import Thresholds, judge

Array = NDArray[Any]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What was run for N samples: `service.contract.norms.measure` of a gradient graph, and more where asked for.

    Args:
        norms: outputs of `measure`, at least logits, activation, weight and scaled norms.
        labels: class of each loss, int64 [N]; −1 for the predicted one.
        runner_up: `measure` again for the second most probable class, only for `saturated` samples, in order.
        activations: outputs of the `activations` graph.
        noise: one per layer, when a noise scale was asked for; `total_noise` of all layers together.
    """

    norms: Mapping[str, Array]
    labels: NDArray[np.int64]
    runner_up: Mapping[str, Array] | None = None
    activations: Mapping[str, Array] | None = None
    noise: list[NoiseScale] = field(default_factory=list)
    total_noise: NoiseScale | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The parts of the answer that do not depend on who is asked."""

    samples: list[SampleLoss]
    layers: list[LayerGradients]
    other_parameters: list[OtherParameterGradients]
    unlike_itself: UnlikeItself | None
    verdict: Verdict


def diagnose(bundle: Bundle, measured: Measured, thresholds: Thresholds) -> Diagnosis:
    """Everything `/diagnostics/gradients` says about these samples."""
    norms = measured.norms
    labels = loss_labels(norms["logits"], measured.labels)
    sizes = logit_gradient_norms(norms["logits"], labels)
    relative = relative_norms(norms["scaled_gradient_norm"], sizes)
    dead, dead_images = dead_fractions(bundle, measured.activations)
    judged, saturated = _by_runner_up(measured, relative, saturated_samples(sizes))
    parameters = np.array([layer.parameters for layer in bundle.layers], np.float64)
    with np.errstate(invalid="ignore"):
        typical = np.median(norms["weight_gradient_norm"], axis=0) / np.sqrt(parameters)
    evidence = Evidence(
        names=[layer.name for layer in bundle.layers],
        depths=[layer.depth for layer in bundle.layers],
        relative=judged,
        saturated=saturated,
        dead_fraction=dead,
        dead_images=dead_images,
        mean_gradient=typical,
        activations=_activation_evidence(bundle, measured.activations) if measured.activations is not None else None,
    )
    verdict, states = judge(evidence, thresholds)
    # A trained net judged on too few images may still be called dead from its own record.
    measured_dead = dead if measured.activations is not None else np.full(len(bundle.layers), np.nan)
    # Saturated samples are compared by their runner-up class as well: to be certain is not to be unlike itself.
    baselines = layer_baselines(bundle.baseline, bundle.layers, judged[~saturated])
    layers = _layers(bundle, measured, relative, measured_dead, baselines, states)
    return Diagnosis(
        samples=_samples(bundle, norms["logits"], labels, sizes),
        layers=layers,
        other_parameters=_other_parameters(bundle, norms),
        unlike_itself=(unlike_itself(bundle.baseline, bundle.layers, baselines) if bundle.baseline else None),
        verdict=verdict,
    )


def logit_gradient_norms(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """‖dL/dlogits‖₂ per sample, in float64."""
    norms: Float64 = np.linalg.norm(logit_gradients(logits, labels), axis=1)
    return norms


def saturated_samples(sizes: Float64) -> NDArray[np.bool_]:
    """Samples whose dL/dlogits float32 cannot hold: the graph propagates 0 for them."""
    result: NDArray[np.bool_] = sizes < SATURATED
    return result


def runner_up_labels(logits: Array) -> NDArray[np.int64]:
    """The second most probable class: a loss for it has a dL/dlogits of about √2, however sure the network is."""
    return np.argsort(-logits, axis=1, kind="stable")[:, 1].astype(np.int64)


def relative_norms(scaled: Array, sizes: Float64) -> Float64:
    """scaled_gradient_norm / ‖dL/dlogits‖, [N, L]; NaN for a saturated sample."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative: Float64 = np.where(saturated_samples(sizes)[:, None], np.nan, scaled / sizes[:, None])
    return relative


def dead_fractions(bundle: Bundle, activations: Mapping[str, Array] | None) -> tuple[Float64, int]:
    """Share of dead channels per layer [L] (NaN without a rectifier) and the images behind it.

    From `channel_peak` where the activations were measured, else from the bundle's record.
    """
    if activations is not None:
        peaks = activations["channel_peak"]
        return dead_shares(bundle.layers, peaks), len(peaks)
    if bundle.baseline is None:
        return np.full(len(bundle.layers), np.nan), 0
    recorded = bundle.baseline.dead_fraction
    return np.array([recorded.get(layer.name, np.nan) for layer in bundle.layers]), bundle.baseline.images


def _activation_evidence(bundle: Bundle, activations: Mapping[str, Array]) -> Activations:
    return Activations(
        mean=activations["activation_mean"].astype(np.float64),
        variance=activations["activation_variance"].astype(np.float64),
        zero_share=activations["activation_zero_share"].astype(np.float64),
        rectified=np.array([layer.rectifier is not None for layer in bundle.layers]),
        function=bundle.architecture.activation,
    )


def judged_norms(measured: Measured) -> tuple[Float64, NDArray[np.bool_]]:
    """r [N, L] with saturated samples judged by their runner-up class, and which samples [N] still say nothing."""
    norms = measured.norms
    sizes = logit_gradient_norms(norms["logits"], loss_labels(norms["logits"], measured.labels))
    relative = relative_norms(norms["scaled_gradient_norm"], sizes)
    return _by_runner_up(measured, relative, saturated_samples(sizes))


def _by_runner_up(
    measured: Measured, relative: Float64, saturated: NDArray[np.bool_]
) -> tuple[Float64, NDArray[np.bool_]]:
    """`relative` with the rows of `saturated` samples by their runner-up class, and which still say nothing."""
    if measured.runner_up is None:
        return relative, saturated
    logits = measured.runner_up["logits"]
    judged = relative.copy()
    runner_up_sizes = logit_gradient_norms(logits, runner_up_labels(logits))
    judged[saturated] = relative_norms(measured.runner_up["scaled_gradient_norm"], runner_up_sizes)
    return judged, np.zeros_like(saturated)


def _samples(bundle: Bundle, logits: Array, labels: NDArray[np.int64], sizes: Float64) -> list[SampleLoss]:
    probability, loss = probabilities(logits), losses(logits, labels)
    predicted = np.argmax(logits, axis=1)
    return [
        SampleLoss(
            label=bundle.labels[label],
            index=int(label),
            loss=float(loss[row]),
            probability=float(probability[row, label]),
            predicted_label=bundle.labels[predicted[row]],
            predicted_index=int(predicted[row]),
            logit_gradient_norm=float(sizes[row]),
            saturated=bool(sizes[row] < SATURATED),
        )
        for row, label in enumerate(labels)
    ]


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
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms["weight_gradient_norm"] / np.array([layer.weight_norm for layer in bundle.layers])
    # By layer, all at once: a conversion for each of them takes longer than the verdict.
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
            weight_norm=layer.weight_norm,
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
            activations=_activations(layer, column, activations) if activations is not None else None,
            baseline=baselines[column],
            verdict=states[column],
        )
        for column, layer in enumerate(bundle.layers)
    ]


def _activations(layer: Layer, column: int, activations: Mapping[str, Array]) -> LayerActivations:
    return LayerActivations(
        mean=activations["activation_mean"][:, column].tolist(),
        variance=activations["activation_variance"][:, column].tolist(),
        zero_share=activations["activation_zero_share"][:, column].tolist(),
    )
