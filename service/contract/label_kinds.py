"""The two kinds of labels: classes of which an image has exactly one, and labels of which it has any number.

Each kind has its own loss. Labels as arrays are int64 [N] for exclusive classes (the class, −1 for the predicted one)
and int64 [N, K] for independent labels (1, 0, or −1 for as predicted).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract import binary_loss, loss
from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import LabelKindName

Labels = NDArray[np.int64]

ONE_HALF: Final = 0.5
"""Probability above which an independent label is predicted."""


class LabelKind(ABC):
    """Meaning of a model's labels for an image's probabilities and loss. Logits are [N, K]."""

    name: LabelKindName

    @abstractmethod
    def none_given(self, samples: int, classes: int) -> Labels:
        """Return labels that are all as predicted."""

    @abstractmethod
    def are_given(self, labels: Labels) -> NDArray[np.bool_]:
        """Return for which samples a label is given, [N]."""

    @abstractmethod
    def settled(self, logits: Array, labels: Labels) -> Labels:
        """Return the labels of each sample's loss: those given, and the predicted ones where none are."""

    @abstractmethod
    def runner_up(self, logits: Array) -> Labels:
        """Return the most probable labels beside the predicted ones; their loss has a ‖dL/dlogits‖ of 0.5 or more."""

    @abstractmethod
    def probabilities(self, logits: Array) -> Float64:
        """Return the probability of each label, [N, K] in float64."""

    @abstractmethod
    def served_probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the same in float32, as predictions are answered; a row that is not finite spoils no other."""

    @abstractmethod
    def predicted(self, probabilities: Array) -> NDArray[np.bool_]:
        """Return which labels are predicted by probabilities [N, K], [N, K]."""

    @abstractmethod
    def above_one_half(self, probabilities: Sequence[float]) -> list[int] | None:
        """Return which independent labels are predicted, the most probable first; None for exclusive classes."""

    @abstractmethod
    def likelihoods(self, logits: Array, labels: Labels) -> Float64:
        """Return the probability that the network gives to each sample's settled labels, [N]: e^−loss."""

    @abstractmethod
    def losses(self, logits: Array, labels: Labels) -> Float64:
        """Return the loss of each sample for its settled labels in nats, [N] in float64."""

    @abstractmethod
    def logit_gradient_norms(self, logits: Array, labels: Labels) -> Float64:
        """Return ‖dL/dlogits‖₂ of each sample for its settled labels, [N] in float64."""


class ExclusiveClasses(LabelKind):
    """An image has one class; the probabilities are softmax(z), and the loss is the cross-entropy."""

    name = "exclusive"

    def none_given(self, samples: int, classes: int) -> Labels:
        return np.full(samples, -1, np.int64)

    def are_given(self, labels: Labels) -> NDArray[np.bool_]:
        return np.asarray(labels >= 0)

    def settled(self, logits: Array, labels: Labels) -> Labels:
        return loss.loss_labels(logits, labels)

    def runner_up(self, logits: Array) -> Labels:
        return np.argsort(-logits, axis=1, kind="stable")[:, 1].astype(np.int64)

    def probabilities(self, logits: Array) -> Float64:
        return loss.probabilities(logits)

    def served_probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore", over="ignore"):
            # `reduce` itself: `max` and `sum` go through Python, which small batches feel.
            exponentials: NDArray[np.float32] = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
            exponentials /= np.add.reduce(exponentials, axis=1, keepdims=True)
        return exponentials

    def predicted(self, probabilities: Array) -> NDArray[np.bool_]:
        return np.asarray(np.arange(probabilities.shape[1]) == np.argmax(probabilities, axis=1)[:, None])

    def above_one_half(self, probabilities: Sequence[float]) -> None:
        return None

    def likelihoods(self, logits: Array, labels: Labels) -> Float64:
        return self.probabilities(logits)[np.arange(len(logits)), labels]

    def losses(self, logits: Array, labels: Labels) -> Float64:
        return loss.losses(logits, labels)

    def logit_gradient_norms(self, logits: Array, labels: Labels) -> Float64:
        return loss.logit_gradient_norms(logits, labels)


class IndependentLabels(LabelKind):
    """An image has any number of labels; each has the probability σ(z), and the loss is a binary cross-entropy."""

    name = "independent"

    def none_given(self, samples: int, classes: int) -> Labels:
        return np.full((samples, classes), -1, np.int64)

    def are_given(self, labels: Labels) -> NDArray[np.bool_]:
        return np.asarray((labels >= 0).any(axis=1))

    def settled(self, logits: Array, labels: Labels) -> Labels:
        return binary_loss.settled_labels(logits, labels)

    def runner_up(self, logits: Array) -> Labels:
        labels = self.settled(logits, np.full(logits.shape, -1, np.int64))
        rows, least_certain = np.arange(len(logits)), np.argmin(np.abs(logits), axis=1)
        labels[rows, least_certain] = 1 - labels[rows, least_certain]
        return labels

    def probabilities(self, logits: Array) -> Float64:
        return binary_loss.label_probabilities(logits)

    def served_probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.probabilities(logits).astype(np.float32)

    def predicted(self, probabilities: Array) -> NDArray[np.bool_]:
        return np.asarray(probabilities > ONE_HALF)

    def above_one_half(self, probabilities: Sequence[float]) -> list[int]:
        above = [index for index, probability in enumerate(probabilities) if probability > ONE_HALF]
        return sorted(above, key=lambda index: -probabilities[index])

    def likelihoods(self, logits: Array, labels: Labels) -> Float64:
        return np.exp(-self.losses(logits, labels))

    def losses(self, logits: Array, labels: Labels) -> Float64:
        return binary_loss.binary_losses(logits, labels)

    def logit_gradient_norms(self, logits: Array, labels: Labels) -> Float64:
        return binary_loss.binary_gradient_norms(logits, labels)


EXCLUSIVE: Final = ExclusiveClasses()
INDEPENDENT: Final = IndependentLabels()


def kind_called(name: LabelKindName) -> LabelKind:
    """Return the kind of labels that a bundle's `label_kind` names."""
    return INDEPENDENT if name == "independent" else EXCLUSIVE
