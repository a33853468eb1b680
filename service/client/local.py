"""A bundle whose graphs run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.bundles.disk import BundleRefused
from service.client.errors import ContraflowError, reported
from service.client.model import Model
from service.client.results import MeasuredGradients
from service.contract.arrays import Pixels
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import ProviderUnavailable
from service.diagnostics.answer import answer_gradients
from service.diagnostics.explanation.answer import answer_explanations
from service.diagnostics.explanation.asked import Asked
from service.diagnostics.schemas.explanation import Explanations
from service.http.answers.schemas import Prediction, Predictions, RankedLabel
from service.http.requests.labels import Label, label_array
from service.http.requests.submission import read_include, read_top_k
from service.http.routes.diagnosis_options import thresholds_with
from service.images.preprocess import decode
from service.offline.model import OfflineModel, finished


class LocalModel(Model):
    """A bundle in this process: the numbers are those of the service, and answers have no `request_id`."""

    def __init__(self, directory: Path, execution_provider: str = "auto") -> None:
        """Read the bundle in a folder; raise `ContraflowError` if it cannot be used."""
        try:
            self._model = OfflineModel(directory, _runtime(execution_provider), needed="forward")
        except (BundleRefused, ProviderUnavailable) as error:
            raise ContraflowError(f"{directory}: {error}") from None
        bundle = self._model.bundle
        self.name, self.version, self.labels = bundle.name, bundle.version, bundle.labels
        self.label_kind = bundle.label_kind
        self._answered_by = self._model.answered_by

    def _predict(self, files: Sequence[bytes], top_k: int) -> Predictions:
        with reported():
            most = read_top_k(top_k)
            outputs = finished(self._model.run("forward", self._pixels(files)))
        predictions = []
        for probabilities, ranking in zip(outputs["probabilities"], outputs["ranking"], strict=True):
            ranked = [
                # The service writes nine digits, which are a float32 exactly.
                RankedLabel(label=self.labels[c], index=int(c), probability=float(f"{probabilities[c]:.9g}"))
                for c in ranking[:most]
            ]
            chosen = self._model.kind.above_one_half(probabilities.tolist())
            predicted = None if chosen is None else [self.labels[index] for index in chosen]
            predictions.append(Prediction(labels=ranked, predicted=predicted))
        record = self._model.bundle.quantized
        quantized = None if record is None else record.of_forward
        return Predictions(**self._answered_by, quantized=quantized, predictions=predictions)

    def _gradients(
        self, files: Sequence[bytes], labels: Sequence[Label], include: list[str], thresholds: dict[str, float]
    ) -> MeasuredGradients:
        with reported():
            wanted = read_include(include)
            classes = label_array(labels, self._model.bundle)
            pixels = self._pixels(files)
            applied, model = thresholds_with(thresholds), self._model
            answer = answer_gradients(model.run, model.bundle, self._answered_by, pixels, classes, wanted, applied)
            return MeasuredGradients.model_validate(dict(finished(answer)))

    def _explain(self, files: Sequence[bytes], labels: Sequence[Label], asked: Asked) -> Explanations:
        with reported():
            classes = label_array(labels, self._model.bundle)
            model, pixels = self._model, self._pixels(files)
            return finished(answer_explanations(model.run, model.bundle, self._answered_by, pixels, classes, asked))

    def _pixels(self, files: Sequence[bytes]) -> Pixels:
        return np.stack([decode(file, self._model.bundle.input) for file in files])


def _runtime(execution_provider: str) -> Runtime:
    try:
        return Runtime(execution_provider)
    except ValueError as error:
        raise ContraflowError(f"execution_provider: {error}") from None
