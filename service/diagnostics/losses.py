"""The loss of each image in the answers: for which labels it is, and how the network classifies the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.contract.label_kinds import EXCLUSIVE, INDEPENDENT
from service.contract.loss import LEAST_LOGIT_GRADIENT
from service.diagnostics.schemas.gradients import SampleLabelsLoss, SampleLoss, SampleLosses


def sample_losses(bundle: Bundle, logits: Array, labels: NDArray[np.int64], sizes: Float64) -> SampleLosses:
    """Describe the loss of N samples for their settled labels; `sizes` are ‖dL/dlogits‖, [N]."""
    saturated = (sizes < LEAST_LOGIT_GRADIENT).tolist()
    if bundle.label_kind == "exclusive":
        return _of_classes(bundle, logits, labels, sizes, saturated)
    return _of_label_sets(bundle, logits, labels, sizes, saturated)


def label_sets(bundle: Bundle, labels: NDArray[np.int64]) -> list[tuple[list[str], list[int]]]:
    """Return names and indices of the labels that apply to each sample; `labels` are int64 [N, K] of 1 and 0."""
    indices = [np.flatnonzero(row == 1).tolist() for row in labels]
    return [([bundle.labels[index] for index in row], row) for row in indices]


def predicted_sets(bundle: Bundle, logits: Array) -> list[tuple[list[str], list[int]]]:
    """Return names and indices of the independent labels whose probability is above one half, by sample."""
    return label_sets(bundle, INDEPENDENT.settled(logits, INDEPENDENT.none_given(*logits.shape)))


def predicted_by(bundle: Bundle, logits: Array) -> list[list[str]]:
    """Return the labels that logits [N, K] predict for each sample: one class, or those above one half."""
    if bundle.label_kind == "exclusive":
        return [[bundle.labels[index]] for index in np.argmax(logits, axis=1)]
    return [names for names, _ in predicted_sets(bundle, logits)]


def _of_classes(
    bundle: Bundle, logits: Array, labels: NDArray[np.int64], sizes: Float64, saturated: Sequence[bool]
) -> list[SampleLoss]:
    probability, loss = EXCLUSIVE.likelihoods(logits, labels), EXCLUSIVE.losses(logits, labels)
    predicted = np.argmax(logits, axis=1)
    return [
        SampleLoss(
            label=bundle.labels[label],
            index=int(label),
            loss=float(loss[row]),
            probability=float(probability[row]),
            predicted_label=bundle.labels[predicted[row]],
            predicted_index=int(predicted[row]),
            logit_gradient_norm=float(sizes[row]),
            saturated=saturated[row],
        )
        for row, label in enumerate(labels)
    ]


def _of_label_sets(
    bundle: Bundle, logits: Array, labels: NDArray[np.int64], sizes: Float64, saturated: Sequence[bool]
) -> list[SampleLabelsLoss]:
    probability, loss = INDEPENDENT.probabilities(logits), INDEPENDENT.losses(logits, labels)
    found = []
    for row, (own, predicted) in enumerate(
        zip(label_sets(bundle, labels), predicted_sets(bundle, logits), strict=True)
    ):
        found.append(
            SampleLabelsLoss(
                labels=own[0],
                indices=own[1],
                loss=float(loss[row]),
                probabilities=probability[row, own[1]].tolist(),
                predicted_labels=predicted[0],
                predicted_indices=predicted[1],
                logit_gradient_norm=float(sizes[row]),
                saturated=saturated[row],
            )
        )
    return found
