"""What a network's gradients look like on its own training images: the measure of "unlike itself"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from export.running.runs import in_onnxruntime
from service.contract.bundle_schema import Baseline, GraphName, Layer
from service.contract.dead import dead_shares
from service.contract.norms import logit_gradients, loss_labels, measure

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CHUNK = 32
SHRINKAGE = 0.05
"""Weight of the diagonal in the covariance (Ledoit and Wolf 2004 shrink towards it; fixed here)."""


@dataclass(frozen=True)
class Measurement:
    """Per sample and layer, in float64: norms divided by the sample's own ‖dL/dlogits‖, [n, L]."""

    activation_gradient_norm: np.ndarray
    weight_gradient_norm: np.ndarray
    scaled_gradient_norm: np.ndarray


def measure_images(model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray) -> Measurement:
    """Run the `weight_norms` graph over `images` float32 [n, c, h, w]; `labels` int64 [n], -1 for predicted."""
    run = in_onnxruntime(model)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(images), CHUNK):
        chunk, wanted = images[start : start + CHUNK], labels[start : start + CHUNK]

        def at_scale(
            scale: np.ndarray, chunk: np.ndarray = chunk, wanted: np.ndarray = wanted
        ) -> Mapping[str, np.ndarray]:
            return run({"input": chunk, "label": wanted, "cotangent_scale": scale})

        answer = measure(at_scale, len(chunk))
        logits = answer["logits"]
        size = np.linalg.norm(logit_gradients(logits, loss_labels(logits, wanted)), axis=1, keepdims=True)
        for name in ("activation_gradient_norm", "weight_gradient_norm", "scaled_gradient_norm"):
            with np.errstate(invalid="ignore", divide="ignore"):
                parts.setdefault(name, []).append(answer[name] / size)
    return Measurement(**{name: np.concatenate(values) for name, values in parts.items()})


def baseline(
    graphs: Mapping[GraphName, onnx.ModelProto], layers: tuple[Layer, ...], images: np.ndarray, classes: np.ndarray
) -> Baseline:
    """Quantiles per layer over the samples whose gradients are finite, with the images' own labels."""
    measured = measure_images(graphs["weight_norms"], images, classes)
    return Baseline(
        images=len(images),
        quantiles=QUANTILES,
        scaled_gradient_norm=_quantiles(measured.scaled_gradient_norm, layers),
        activation_gradient_norm=_quantiles(measured.activation_gradient_norm, layers),
        dead_fraction=dead_fractions(graphs["activations"], layers, images),
    )


def _quantiles(norms: np.ndarray, layers: tuple[Layer, ...]) -> dict[str, tuple[float, ...]]:
    usable = norms[np.isfinite(norms).all(axis=1)]
    if not len(usable):
        return {}
    values = np.quantile(usable, QUANTILES, axis=0)
    return {layer.name: tuple(float(v) for v in values[:, column]) for column, layer in enumerate(layers)}


def dead_fractions(model: onnx.ModelProto, layers: tuple[Layer, ...], images: np.ndarray) -> dict[str, float]:
    """The share of each layer's channels that are zero at every position of every image."""
    run = in_onnxruntime(model)
    peaks = np.max(
        [
            run({"input": images[start : start + CHUNK]})["channel_peak"].max(axis=0)
            for start in range(0, len(images), CHUNK)
        ],
        axis=0,
    )
    shares = dead_shares(layers, peaks[None])
    return {layer.name: float(share) for layer, share in zip(layers, shares, strict=True) if layer.channels}


def reference_statistics(graphs: Mapping[GraphName, onnx.ModelProto], images: np.ndarray) -> dict[str, np.ndarray]:
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
