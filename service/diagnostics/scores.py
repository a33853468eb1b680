"""Scores of an image: how foreign it is to the network, and how hard or mislabelled it looks.

With the logits z = W·h + b, the probabilities p = softmax(z) and C classes:

    max_probability   max p (Hendrycks and Gimpel 2017)
    energy            logsumexp z (Liu et al. 2020, sign turned: high is familiar)
    gradnorm          ‖h‖₁·‖p − 1/C‖₁: the L1 norm of dKL(uniform‖p)/dW of the last layer (Huang et al. 2021).
                      It needs no backward pass; the authors' code gives C times this number
    layer_norm_distance   Mahalanobis distance of the vector ln(weight_gradient_norm / ‖dL/dlogits‖) of all layers,
                      for the predicted class, from the bundle's training images (`reference.npz`)
    margin            p_label − max other p; without a label, between the two largest
    el2n              ‖p − onehot‖₂ (Paul et al. 2021)
    grand             √Σ_layers ‖dL/dW‖² at this checkpoint (Paul et al. 2021 average over several)

docs/scores.md measures how well each works on the shipped networks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.contract.loss import logit_gradient_norms, loss_labels, probabilities
from service.contract.reference import ReferenceStatistics
from service.diagnostics.schemas.scores import SampleScores


def energy(logits: Array) -> Float64:
    """Return logsumexp of the logits, [N] in float64."""
    values = logits.astype(np.float64)
    largest = values.max(axis=1)
    with np.errstate(invalid="ignore"):
        result: Float64 = largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))
    return result


def gradnorm(logits: Array, features: Array) -> Float64:
    """Return ‖h‖₁·‖p − 1/C‖₁, [N]; `features` [N, D] is h."""
    spread = np.abs(probabilities(logits) - 1 / logits.shape[1]).sum(axis=1)
    result: Float64 = np.abs(features.astype(np.float64)).sum(axis=1) * spread
    return result


def margin(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return p_label − max other p, [N]; for the predicted class (label −1) that is the gap of the two largest p."""
    rows = np.arange(len(logits))
    others = probabilities(logits)
    classes = loss_labels(logits, labels)
    own = others[rows, classes]
    others[rows, classes] = -np.inf
    result: Float64 = own - others.max(axis=1)
    return result


def el2n(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return ‖p − onehot‖₂, [N], which is ‖dL/dlogits‖₂."""
    return logit_gradient_norms(logits, labels)


def grand(weight_gradient_norm: Array) -> Float64:
    """Return √Σ_layers ‖dL/dW‖², [N]."""
    result: Float64 = np.linalg.norm(weight_gradient_norm, axis=1)
    return result


def layer_norm_distance(norms: Mapping[str, Array], reference: ReferenceStatistics) -> Float64:
    """Return the Mahalanobis distance of the vector of log norms, [N]; infinite where a norm is 0 or not finite.

    `norms` must have been measured for the predicted class.
    """
    sizes = logit_gradient_norms(norms["logits"], np.argmax(norms["logits"], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        vectors = np.log(norms["weight_gradient_norm"] / sizes[:, None]) - reference.mean
        square = np.einsum("ni,ij,nj->n", vectors, reference.precision, vectors)
    result: Float64 = np.where(np.isfinite(vectors).all(axis=1), np.sqrt(np.maximum(square, 0)), np.inf)
    return result


def score(
    bundle: Bundle,
    norms: Mapping[str, Array],
    labels: NDArray[np.int64],
    predicted_norms: Mapping[str, Array] | None,
    reference: ReferenceStatistics | None,
) -> list[SampleScores]:
    """Return all scores of N samples.

    Args:
        norms: `measure` of `weight_norms` for `labels` (int64 [N], −1 where none is given).
        predicted_norms: the same for the predicted class; needed only with a `reference`.
    """
    logits = norms["logits"]
    classes, given = loss_labels(logits, labels), labels >= 0
    predicted = np.argmax(logits, axis=1)
    probability = probabilities(logits)
    columns = {
        "max_probability": probability.max(axis=1),
        "energy": energy(logits),
        "margin": margin(logits, labels),
        "el2n": el2n(logits, classes),
        "grand": grand(norms["weight_gradient_norm"]),
    }
    if "features" in norms:
        columns["gradnorm"] = gradnorm(logits, norms["features"])
    if reference is not None and predicted_norms is not None:
        columns["layer_norm_distance"] = layer_norm_distance(predicted_norms, reference)

    def value(name: str, row: int) -> float | None:
        return float(columns[name][row]) if name in columns else None

    return [
        SampleScores(
            label=bundle.labels[classes[row]] if given[row] else None,
            index=int(classes[row]) if given[row] else None,
            predicted_label=bundle.labels[predicted[row]],
            predicted_index=int(predicted[row]),
            probability=float(probability[row, classes[row]]) if given[row] else None,
            max_probability=float(columns["max_probability"][row]),
            energy=float(columns["energy"][row]),
            gradnorm=value("gradnorm", row),
            layer_norm_distance=value("layer_norm_distance", row),
            margin=float(columns["margin"][row]),
            el2n=value("el2n", row) if given[row] else None,
            grand=value("grand", row) if given[row] else None,
        )
        for row in range(len(logits))
    ]
