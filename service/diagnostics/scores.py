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

Where labels are independent, each with the probability p = σ(z), and y is 1 for those that apply:

    max_probability   max p (the same of the sigmoids)
    energy            Σ ln(1 + eᶻ), the joint energy of all labels (Wang et al. 2021; high is familiar)
    layer_norm_distance, grand   as above, of the binary cross-entropy
    el2n              ‖p − y‖₂, the error vector of Paul et al. 2021 for such labels

gradnorm and margin compare classes that exclude each other, and have no such form.

docs/reports/scores.md measures how well each works on the shipped networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.contract.label_kinds import EXCLUSIVE, INDEPENDENT, LabelKind, kind_called
from service.contract.loss import logit_gradient_norms, loss_labels, probabilities
from service.contract.reference import ReferenceStatistics
from service.diagnostics.losses import label_sets, predicted_sets
from service.diagnostics.schemas.scores import SampleLabelsScores, SampleScores, SampleScoresList


def energy(logits: Array) -> Float64:
    """Return logsumexp of the logits, [N] in float64."""
    values = logits.astype(np.float64)
    largest = values.max(axis=1)
    with np.errstate(invalid="ignore"):
        result: Float64 = largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))
    return result


def joint_energy(logits: Array) -> Float64:
    """Return Σ ln(1 + eᶻ) over independent labels, [N] in float64."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        result: Float64 = (np.maximum(values, 0) + np.log1p(np.exp(-np.abs(values)))).sum(axis=1)
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


def layer_norm_distance(
    norms: Mapping[str, Array], reference: ReferenceStatistics, kind: LabelKind = EXCLUSIVE
) -> Float64:
    """Return the Mahalanobis distance of the vector of log norms, [N]; infinite where a norm is 0 or not finite.

    `norms` must have been measured for the predicted labels.
    """
    logits = norms["logits"]
    sizes = kind.logit_gradient_norms(logits, kind.settled(logits, kind.none_given(*logits.shape)))
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
) -> SampleScoresList:
    """Return all scores of N samples.

    Args:
        norms: `measure` of `weight_norms` for `labels`, as the bundle's kind of labels has them.
        predicted_norms: the same for the predicted labels; needed only with a `reference`.
    """
    distances: Sequence[float | None] = [None] * len(labels)
    if reference is not None and predicted_norms is not None:
        distances = layer_norm_distance(predicted_norms, reference, kind_called(bundle.label_kind)).tolist()
    of_samples = _of_classes if bundle.label_kind == "exclusive" else _of_label_sets
    return of_samples(bundle, norms, labels, distances)


def _of_classes(
    bundle: Bundle, norms: Mapping[str, Array], labels: NDArray[np.int64], distances: Sequence[float | None]
) -> list[SampleScores]:
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
            layer_norm_distance=distances[row],
            margin=float(columns["margin"][row]),
            el2n=value("el2n", row) if given[row] else None,
            grand=value("grand", row) if given[row] else None,
        )
        for row in range(len(logits))
    ]


def _of_label_sets(
    bundle: Bundle, norms: Mapping[str, Array], labels: NDArray[np.int64], distances: Sequence[float | None]
) -> list[SampleLabelsScores]:
    logits = norms["logits"]
    settled, given = INDEPENDENT.settled(logits, labels), INDEPENDENT.are_given(labels)
    probability, likelihood = INDEPENDENT.probabilities(logits), given_likelihoods(logits, labels)
    energies, errors = joint_energy(logits), INDEPENDENT.logit_gradient_norms(logits, settled)
    sizes = grand(norms["weight_gradient_norm"])
    found = []
    for row, (own, predicted) in enumerate(
        zip(label_sets(bundle, settled), predicted_sets(bundle, logits), strict=True)
    ):
        found.append(
            SampleLabelsScores(
                labels=own[0] if given[row] else None,
                indices=own[1] if given[row] else None,
                predicted_labels=predicted[0],
                predicted_indices=predicted[1],
                probability=float(likelihood[row]) if given[row] else None,
                max_probability=float(probability[row].max()),
                energy=float(energies[row]),
                layer_norm_distance=distances[row],
                el2n=float(errors[row]) if given[row] else None,
                grand=float(sizes[row]) if given[row] else None,
            )
        )
    return found


def given_likelihoods(logits: Array, labels: NDArray[np.int64]) -> Float64:
    """Return the probability of all that is given of independent labels together, [N]; −1 says nothing of a label."""
    of_given = INDEPENDENT.probabilities(np.where(labels == 1, logits, -logits))
    result: Float64 = np.where(labels < 0, 1.0, of_given).prod(axis=1)
    return result
