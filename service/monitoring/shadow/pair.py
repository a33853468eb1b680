"""Two versions that are compared: their labels are matched by name, because a new version may order them otherwise."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.label_kinds import kind_called
from service.diagnostics.schemas.base import LABELS_BETWEEN

NO_LABEL: Final = "(none)"
"""Stands for a set of independent labels without any."""


class Pair:
    """The model that answers and its shadow. It keeps neither alive, as both may be replaced at any time."""

    def __init__(self, model: ServedModel, shadow: ServedModel) -> None:
        self._models = weakref.ref(model), weakref.ref(shadow)
        self.model, self.shadow = model.bundle, shadow.bundle
        self.names = model.full_name, shadow.full_name
        self.kind = kind_called(model.bundle.label_kind)
        places = {label: index for index, label in enumerate(_numbered(shadow.bundle.labels))}
        own = _numbered(model.bundle.labels)
        self.places: NDArray[np.int64] = np.array([places.get(label, -1) for label in own], np.int64)
        """Place among the shadow's labels of each of the model's; −1 where it has none of that name."""
        self._shared = self.places >= 0

    def is_of(self, model: ServedModel, shadow: ServedModel) -> bool:
        """Return whether these very models are the two, and not later ones of the same names."""
        return self._models[0]() is model and self._models[1]() is shadow

    @property
    def reads_alike(self) -> bool:
        """True if both read a picture in the same way, so that it need not be decoded twice."""
        return self.model.input == self.shadow.input

    @property
    def obstacle(self) -> str | None:
        """Return why the two cannot be compared, in words; None if they can."""
        told = "{} and {} cannot be compared: ".format(*self.names)
        if self.model.label_kind != self.shadow.label_kind:
            return f"{told}the labels of one exclude each other, those of the other do not."
        return None if self._shared.any() else f"{told}they have no label in common."

    def unshared(self) -> tuple[list[str], list[str]]:
        """Return the labels that only the model has, and those that only the shadow has."""
        model, shadow = set(self.model.labels), set(self.shadow.labels)
        return (
            [label for label in self.model.labels if label not in shadow],
            [label for label in self.shadow.labels if label not in model],
        )

    def predicted(self, probabilities: Array, *, by_shadow: bool) -> str:
        """Return the label that one image's probabilities [K] predict, or all independent ones that they do."""
        labels = self.shadow.labels if by_shadow else self.model.labels
        chosen = np.flatnonzero(self.kind.predicted(probabilities[None])[0])
        return _joined([labels[index] for index in chosen])

    def differences(self, answered: Array, shadow: Array) -> tuple[float, float | None]:
        """Return two differences between the probabilities of one image by the model [K] and by the shadow [K'].

        The first is the largest of a label that both have. The second is that of the label that the model predicts
        (of independent labels their mean); None if the shadow has no such label.
        """
        distances = np.abs(shadow[self.places[self._shared]].astype(np.float64) - answered[self._shared])
        predicted = self.kind.predicted(answered[None])[0][self._shared]
        return float(distances.max()), float(distances[predicted].mean()) if predicted.any() else None

    def labels_of_loss(self, answered: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the labels of one image's loss for the model and for the shadow, as their graphs take them.

        They are those that the model predicts, for both: of another label the gradients would differ for that alone. A
        label that the shadow does not have is as the shadow predicts.
        """
        own = self.kind.settled(_scores(answered), self.kind.none_given(1, len(answered)))
        if self.model.label_kind == "exclusive":
            return own, self.places[own]
        others = self.kind.none_given(1, len(self.shadow.labels))
        others[0, self.places[self._shared]] = own[0, self._shared]
        return own, others


def _scores(probabilities: Array) -> NDArray[np.float64]:
    """Return scores of one image, [1, K], that are highest where its probabilities are, and above 0 from one half."""
    scores: NDArray[np.float64] = probabilities[None].astype(np.float64) - 0.5
    return scores


def _joined(labels: Sequence[str]) -> str:
    return LABELS_BETWEEN.join(labels) or NO_LABEL


def _numbered(labels: Sequence[str]) -> list[tuple[str, int]]:
    """Return each label with how many of its name come before it: ImageNet has two called crane."""
    seen: Counter[str] = Counter()
    numbered = []
    for label in labels:
        numbered.append((label, seen[label]))
        seen[label] += 1
    return numbered
