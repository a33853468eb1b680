"""What a network's gradients look like on its own training images: the measure of "unlike itself"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.running.runs import in_onnxruntime
from service.contract.bundle_schema import Baseline, GraphName, Layer
from service.contract.dead_channels import dead_fractions
from service.contract.loss import logit_gradient_norms, loss_labels
from service.contract.norms import measure

Array = NDArray[Any]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CHUNK = 32
SHRINKAGE = 0.05
"""Weight of the diagonal in the covariance (Ledoit and Wolf 2004 shrink towards it; fixed here)."""


@dataclass(frozen=True)
class Measurement:
    """Per sample and layer, in float64: norms divided by the sample's own ‖dL/dlogits‖, [n, L]."""

    activation_gradient_norm: Array
    weight_gradient_norm: Array
    scaled_gradient_norm: Array


def measure_images(model: onnx.ModelProto, images: Array, labels: Array) -> Measurement:
    """Run the `weight_norms` graph over `images` float32 [n, c, h, w]; `labels` int64 [n], -1 for predicted."""
    run = in_onnxruntime(model)
    parts: dict[str, list[Array]] = {}
    for start in range(0, len(images), CHUNK):
        chunk, wanted = images[start : start + CHUNK], labels[start : start + CHUNK]

        def at_scale(scale: Array, chunk: Array = chunk, wanted: Array = wanted) -> Mapping[str, Array]:
            return run({"input": chunk, "label": wanted, "cotangent_scale": scale})

        answer = measure(at_scale, len(chunk))
        logits = answer["logits"]
        size = logit_gradient_norms(logits, loss_labels(logits, wanted))[:, None]
        for name in ("activation_gradient_norm", "weight_gradient_norm", "scaled_gradient_norm"):
            with np.errstate(invalid="ignore", divide="ignore"):
                parts.setdefault(name, []).append(answer[name] / size)
    return Measurement(**{name: np.concatenate(values) for name, values in parts.items()})


def baseline(
    graphs: Mapping[GraphName, onnx.ModelProto], layers: tuple[Layer, ...], images: Array, classes: Array
) -> Baseline:
    """Quantiles per layer over the samples whose gradients are finite, with the images' own labels."""
    measured = measure_images(graphs["weight_norms"], images, classes)
    return Baseline(
        images=len(images),
        quantiles=QUANTILES,
        scaled_gradient_norm=_quantiles(measured.scaled_gradient_norm, layers),
        activation_gradient_norm=_quantiles(measured.activation_gradient_norm, layers),
        dead_fraction=dead_fraction_by_layer(graphs["activations"], layers, images),
    )


def _quantiles(norms: Array, layers: tuple[Layer, ...]) -> dict[str, tuple[float, ...]]:
    usable = norms[np.isfinite(norms).all(axis=1)]
    if not len(usable):
        return {}
    values = np.quantile(usable, QUANTILES, axis=0)
    return {layer.name: tuple(float(v) for v in values[:, column]) for column, layer in enumerate(layers)}


def dead_fraction_by_layer(model: onnx.ModelProto, layers: tuple[Layer, ...], images: Array) -> dict[str, float]:
    """The share of each layer's channels that are zero at every position of every image."""
    run = in_onnxruntime(model)
    peaks = np.max(
        [
            run({"input": images[start : start + CHUNK]})["channel_peak"].max(axis=0)
            for start in range(0, len(images), CHUNK)
        ],
        axis=0,
    )
    fractions = dead_fractions(layers, peaks[None])
    return {layer.name: float(fraction) for layer, fraction in zip(layers, fractions, strict=True) if layer.channels}


def reference_statistics(graphs: Mapping[GraphName, onnx.ModelProto], images: Array) -> dict[str, Array]:
    """Mean [L] and precision matrix [L, L] of ln(weight gradient norm / ‖dL/dlogits‖), predicted labels.

    For the Mahalanobis distance of a sample's vector of norms. Empty where fewer than twice as
    many samples as layers have finite logarithms.
    """
    norms = measure_images(graphs["weight_norms"], images, np.full(len(images), -1)).weight_gradient_norm
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(norms)
    usable = logs[np.isfinite(logs).all(axis=1)]
    if len(usable) < 2 * norms.shape[1]:
        return {}
    covariance = np.cov(usable, rowvar=False)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance) + 1e-12)
    return {"log_norm_mean": usable.mean(axis=0), "log_norm_precision": np.linalg.inv(shrunk)}
