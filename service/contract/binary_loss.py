"""The loss of independent labels, and its gradient with respect to the logits, computed in float64.

Each of K labels applies to an image or not, with probability σ(z). The loss of a sample is the binary cross-entropy
of its logits z, summed over the labels: Σ ln(1 + eˢ) with s = −z where the label applies and s = z elsewhere. Labels
are int64 [N, K]: 1 applies, 0 does not, and −1 is as predicted, which is 1 where σ(z) is above one half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64


def label_probabilities(logits: Array) -> Float64:
    """Return σ(logits) in float64, [N, K] → [N, K]; the digits of small ones are kept."""
    return _sigmoid(logits.astype(np.float64))


def binary_losses(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return the summed binary cross-entropy of each sample in nats, [N] in float64."""
    against = _against(logits, labels)
    with np.errstate(invalid="ignore"):
        terms = np.maximum(against, 0) + np.log1p(np.exp(-np.abs(against)))
    result: Float64 = terms.sum(axis=1)
    return result


def binary_logit_gradients(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return dL/dlogits = σ(z) − y, [N, K] in float64.

    Where the label applies it is computed as −σ(−z), which has no cancellation: 1e-12 of a confident label stays so.
    """
    size = _sigmoid(_against(logits, labels))
    return np.where(labels == 1, -size, size)


def binary_gradient_norms(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return ‖dL/dlogits‖₂ of each sample, [N] in float64."""
    norms: Float64 = np.linalg.norm(binary_logit_gradients(logits, labels), axis=1)
    return norms


def settled_labels(logits: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the labels of each sample's loss, [N, K] of 1 and 0: those given, and as predicted where they are −1."""
    return np.where(labels < 0, logits > 0, labels == 1).astype(np.int64)


def _against(logits: Array, labels: NDArray[np.int64]) -> Float64:
    values = logits.astype(np.float64)
    return np.where(labels == 1, -values, values)


def _sigmoid(values: Float64) -> Float64:
    with np.errstate(invalid="ignore"):
        small = np.exp(-np.abs(values))
        result: Float64 = np.where(values > 0, 1.0, small) / (1.0 + small)
    return result
