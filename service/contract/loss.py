"""The loss that gradient graphs differentiate, and its gradient with respect to the logits, computed in float64.

The loss of a sample is the cross-entropy of its logits z with respect to one class. A graph computes it in
float32; here it is computed from the graph's logits again, so that no digits are lost where a network is confident.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64

LEAST_LOGIT_GRADIENT: Final = 1e-37
"""A sample is saturated where its ‖dL/dlogits‖ is smaller: 0 or denormal in the graph's float32 softmax."""


def probabilities(logits: Array) -> Float64:
    """Return softmax(logits) in float64: [N, K] → [N, K]. A row that is not finite becomes NaN."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(values - values.max(axis=1, keepdims=True))
        result: Float64 = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def losses(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return the cross-entropy of each sample in nats, [N] in float64: logsumexp(z) − z_label."""
    values = logits.astype(np.float64)
    rows = np.arange(len(values))
    with np.errstate(invalid="ignore", over="ignore"):
        differences = values - values[rows, labels][:, None]
        largest = differences.max(axis=1, keepdims=True)
        exponentials = np.exp(differences - largest)
        exponentials[rows, labels] = 0.0
        others = exponentials.sum(axis=1)
        # Where the label leads, `largest` is 0 and log1p keeps the digits of a loss far below 1e-16.
        result: Float64 = largest[:, 0] + np.log1p(others + np.expm1(-largest[:, 0]))
    return result


def logit_gradients(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return dL/dlogits = p − onehot, [N, K] in float64.

    The label's component is computed as −Σ p_j over the other classes j. Unlike p_label − 1, that sum has no
    cancellation: 1e-12 of a confident sample stays 1e-12.
    """
    gradient = probabilities(logits)
    rows = np.arange(len(gradient))
    gradient[rows, labels] = 0.0
    gradient[rows, labels] = -gradient.sum(axis=1)
    return gradient


def logit_gradient_norms(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return ‖dL/dlogits‖₂ of each sample, [N] in float64."""
    norms: Float64 = np.linalg.norm(logit_gradients(logits, labels), axis=1)
    return norms


def loss_labels(logits: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of each sample's loss: its label, or its predicted class where the label is −1."""
    return np.where(labels < 0, np.argmax(logits, axis=1), labels).astype(np.int64)
