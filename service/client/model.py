"""The interface to a model, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.client.errors import reported
from service.client.images import GivenImages, image_files
from service.client.results import MeasuredGradients
from service.contract.bundle_schema import LabelKindName
from service.diagnostics.explanation.asked import Asked, asked
from service.diagnostics.schemas.explanation import Explanations
from service.diagnostics.schemas.verdict import Verdict
from service.http.answers.schemas import Predictions
from service.http.requests.labels import GivenLabels, Label, as_label

LossLabels = Label | Sequence[Label | Sequence[str | int]] | NDArray[np.integer]
"""The class of each image's loss, by name or number; None for the predicted one. One label is for all images.

Where labels are independent, an image has a list of those that apply, or one of them: `[["cat", "dog"], []]`."""


class Model(ABC):
    """A classifier in this process or in a service. Every method raises `ContraflowError` with the reason in words.

    Attributes:
        name, version: those of its bundle, as text.
        labels: its classes, a tuple of text in the order of its outputs.
        label_kind: "exclusive" if an image has one of them, "independent" if it has any number.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    label_kind: LabelKindName

    def predict(self, images: GivenImages, *, top_k: int = 5) -> Predictions:
        """Rank the most probable labels of each image.

        Args:
            images: one image, or a list of N.
            top_k: labels to rank for each image.

        Returns:
            The answer of `POST /predict`: `.predictions[i].labels[0].label` is the best label of image i, and
            `.probability` beside it is 0 to 1.

        Raises:
            ContraflowError: an image cannot be decoded, or the service does not answer.
        """
        return self._predict(image_files(images), top_k)

    def gradients(
        self,
        images: GivenImages,
        labels: LossLabels = None,
        *,
        include: Collection[str] = (),
        thresholds: Mapping[str, float] | None = None,
    ) -> MeasuredGradients:
        """Measure the gradient norms of every layer for each image, and judge the model by them.

        Args:
            images: one image, or a list of N.
            labels: those of the losses; without them each image's predicted ones are taken.
            include: what else to measure: "batch_gradient" (with noise scales where every image has a label),
                "activations", "input_gradient".
            thresholds: thresholds of the verdict other than the defaults (docs/reference/verdicts.md).

        Returns:
            The answer of `POST /diagnostics/gradients`: `.layers[l].weight_gradient_norm[i]` is ‖dL/dW‖₂ of layer l
            for image i, in nats per unit of W.

        Raises:
            ContraflowError: an image, a label or a threshold cannot be used, or the service does not answer.
        """
        files = image_files(images)
        with reported():
            each = self._labels_of_each(files, labels)
        return self._gradients(files, each, list(include), dict(thresholds or {}))

    def check(
        self, images: GivenImages, labels: LossLabels = None, *, thresholds: Mapping[str, float] | None = None
    ) -> Verdict:
        """Say whether the gradients of these images are healthy.

        Args:
            images: one image, or a list of N; with fewer than 16, dead channels are not looked for.
            labels: as in `gradients`.
            thresholds: as in `gradients`.

        Returns:
            The verdict: `.state` is "healthy" or the worst finding, `.because` what was seen, `.findings` all of them.

        Raises:
            ContraflowError: as in `gradients`.
        """
        return self.gradients(images, labels, thresholds=thresholds).verdict

    def explain(
        self,
        images: GivenImages,
        labels: LossLabels = None,
        *,
        method: str = "grad_cam",
        layer: str | None = None,
        steps: int | None = None,
    ) -> Explanations:
        """Show where in each image the evidence for one label lies.

        Args:
            images: one image, or a list of at most 16.
            labels: the label whose logit is explained, one for each image, also where labels are independent; without
                it, the label with the largest logit.
            method: "grad_cam", "integrated_gradients", "smooth_grad", "input_x_gradient"
                (docs/guide/explain-an-answer.md).
            layer: for "grad_cam", the layer whose map is shown; by default the last one that has a map.
            steps: runs per image of "integrated_gradients" (64) and "smooth_grad" (50).

        Returns:
            The answer of `POST /diagnostics/explain`: `.samples[i].map.values` is the map of image i, and
            `.samples[i].because` says what it shows.

        Raises:
            ContraflowError: an image, a label or an option cannot be used, or the service does not answer.
        """
        files = image_files(images)
        with reported():
            return self._explain(files, self._labels_of_each(files, labels), asked(method, layer, steps))

    def _labels_of_each(self, files: Sequence[bytes], labels: LossLabels) -> Sequence[Label]:
        given = GivenLabels((None,) * len(files), of_each=tuple([as_label(label) for label in _listed(labels)]))
        return given.spread(self.label_kind, self.name)

    @abstractmethod
    def _predict(self, files: Sequence[bytes], top_k: int) -> Predictions: ...

    @abstractmethod
    def _gradients(
        self, files: Sequence[bytes], labels: Sequence[Label], include: list[str], thresholds: dict[str, float]
    ) -> MeasuredGradients: ...

    @abstractmethod
    def _explain(self, files: Sequence[bytes], labels: Sequence[Label], asked: Asked) -> Explanations: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}@{self.version}, {len(self.labels)} classes>"


def _listed(labels: LossLabels) -> list[Any]:
    if isinstance(labels, np.ndarray | np.generic):
        labels = labels.tolist()
    return list(labels) if isinstance(labels, list | tuple) else [labels]
