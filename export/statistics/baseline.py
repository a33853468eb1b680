"""Gradient norms of a network on its own training images, which the service compares an image's norms with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from export.running.runs import in_onnxruntime
from service.contract.bundle_schema import Baseline, GraphName, Layer
from service.contract.dead_channels import dead_fractions
from service.contract.loss import logit_gradient_norms, loss_labels
from service.contract.norms import measure

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BATCH_SIZE = 32
SHRINKAGE = 0.05
"""Weight of the diagonal, towards which the covariance is shrunk (estimated in Ledoit and Wolf 2004, fixed here)."""


@dataclass(frozen=True)
class RelativeNorms:
    """Gradient norms per sample and layer, divided by the sample's ‖dL/dlogits‖: float64 [n, L] each."""

    activation_gradient_norm: np.ndarray
    weight_gradient_norm: np.ndarray
    scaled_gradient_norm: np.ndarray


def relative_norms(model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray) -> RelativeNorms:
    """Run the `weight_norms` graph over images.

    Args:
        images: float32 [n, c, h, w].
        labels: int64 [n]; −1 stands for the predicted class.
    """
    run = in_onnxruntime(model)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(images), BATCH_SIZE):
        feeds = {"input": images[start : start + BATCH_SIZE], "label": labels[start : start + BATCH_SIZE]}

        def at_scale(scale: np.ndarray, feeds: dict[str, np.ndarray] = feeds) -> Mapping[str, np.ndarray]:
            return run({**feeds, "cotangent_scale": scale})

        norms = measure(at_scale, len(feeds["input"]))
        logits = norms["logits"]
        size = logit_gradient_norms(logits, loss_labels(logits, feeds["label"]))[:, None]
        for name in ("activation_gradient_norm", "weight_gradient_norm", "scaled_gradient_norm"):
            with np.errstate(invalid="ignore", divide="ignore"):  # a saturated sample has size 0
                parts.setdefault(name, []).append(norms[name] / size)
    return RelativeNorms(**{name: np.concatenate(values) for name, values in parts.items()})


def baseline(
    graphs: Mapping[GraphName, onnx.ModelProto], layers: tuple[Layer, ...], images: np.ndarray, classes: np.ndarray
) -> Baseline:
    """Measure quantiles per layer, with the images' labels, over the samples whose gradients are finite.

    Args:
        images: float32 [n, c, h, w].
        classes: int64 [n].
    """
    measured = relative_norms(graphs["weight_norms"], images, classes)
    return Baseline(
        images=len(images),
        quantiles=QUANTILES,
        scaled_gradient_norm=_quantiles(measured.scaled_gradient_norm, layers),
        activation_gradient_norm=_quantiles(measured.activation_gradient_norm, layers),
        dead_fraction=dead_fraction_by_layer(graphs["activations"], layers, images),
    )


def _quantiles(norms: np.ndarray, layers: tuple[Layer, ...]) -> dict[str, tuple[float, ...]]:
    usable = norms[np.isfinite(norms).all(axis=1)]
    if not len(usable):
        return {}
    values = np.quantile(usable, QUANTILES, axis=0)
    return {layer.name: tuple(float(v) for v in values[:, column]) for column, layer in enumerate(layers)}


def dead_fraction_by_layer(model: onnx.ModelProto, layers: tuple[Layer, ...], images: np.ndarray) -> dict[str, float]:
    """Return the share of each layer's channels that are zero at every position of every image."""
    run = in_onnxruntime(model)
    peaks = np.max(
        [
            run({"input": images[start : start + BATCH_SIZE]})["channel_peak"].max(axis=0)
            for start in range(0, len(images), BATCH_SIZE)
        ],
        axis=0,
    )
    fractions = dead_fractions(layers, peaks[None])
    return {layer.name: float(fraction) for layer, fraction in zip(layers, fractions, strict=True) if layer.channels}


def reference_statistics(graphs: Mapping[GraphName, onnx.ModelProto], images: np.ndarray) -> dict[str, np.ndarray]:
    """Fit a Gaussian to the vectors ln(weight gradient norm / ‖dL/dlogits‖), one entry per layer.

    The loss is that of the predicted class, as no label is known when the service measures an image's
    Mahalanobis distance to this Gaussian.

    Returns:
        `log_norm_mean` [L] and `log_norm_precision` [L, L]; nothing where fewer than twice as many
        samples as layers have finite logarithms.
    """
    norms = relative_norms(graphs["weight_norms"], images, np.full(len(images), -1)).weight_gradient_norm
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(norms)
    usable = logs[np.isfinite(logs).all(axis=1)]
    if len(usable) < 2 * norms.shape[1]:
        return {}
    covariance = np.cov(usable, rowvar=False)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance) + 1e-12)
    return {"log_norm_mean": usable.mean(axis=0), "log_norm_precision": np.linalg.inv(shrunk)}
