"""One of the two versions: a bundle in this process, or a model that a service serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Pixels
from service.contract.bundle_schema import InputSpec, LabelKindName, Layer, OtherParameter
from service.diagnostics.gradients import diagnose
from service.diagnostics.losses import predicted_by
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.diagnostics.schemas.gradients import ComparedModel
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import sentence
from service.images.errors import ImageError
from service.images.preprocess import decode
from service.offline.model import LabelledFile, OfflineModel, finished, labels_of


class NotDiagnosed(Exception):
    """A version that answers, but has no gradients to judge; the message says why."""


class Answered(NamedTuple):
    """What one version says of an image."""

    predicted: str
    """The label, or independent labels with `LABELS_BETWEEN` between them."""
    max_probability: float
    """Of the most probable label."""
    probability: float | None
    """Of the image's own label; None if it has none, or none that this version knows."""
    loss: float | None
    """Of the image's own label, in nats. Where labels are independent, of that label alone."""


class Pictures:
    """The bytes of some image files, decoded once for each way of decoding them."""

    def __init__(self, folder: Path, files: Sequence[LabelledFile]) -> None:
        """Read the files of one chunk; raise OSError where one cannot be read."""
        self.files = list(files)
        self.contents = [(folder / file.path).read_bytes() for file in files]
        self._decoded: dict[InputSpec, list[Pixels | str]] = {}

    def pixels(self, spec: InputSpec) -> list[Pixels | str]:
        """Return the pixels of each image, uint8 [h, w, c], or why it cannot be decoded."""
        if spec not in self._decoded:
            self._decoded[spec] = [_pixels(content, spec) for content in self.contents]
        return self._decoded[spec]


def _pixels(content: bytes, spec: InputSpec) -> Pixels | str:
    try:
        return decode(content, spec)
    except ImageError as error:
        return error.detail


class Version(ABC):
    """One version of a model, wherever it runs.

    Attributes:
        place: as it was named.
        input: how it decodes an image.
        parameters: numbers in its weights and other trained tensors.
        notes: what a reader must know of its answers.
    """

    place: str
    name: str
    version: str
    digest: str
    labels: tuple[str, ...]
    label_kind: LabelKindName
    input: InputSpec
    parameters: int
    bytes_on_disk: int | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def known(self) -> frozenset[str]:
        """Its labels."""
        return frozenset(self.labels)

    def label_of(self, file: LabelledFile) -> str | None:
        """Return the label of a file if this version knows it."""
        return file.label if file.label in self.known else None

    @abstractmethod
    def answers(self, pictures: Pictures) -> list[Answered | str]:
        """Return what is predicted of each image, or why it cannot be decoded."""

    @abstractmethod
    def gradients(self, pictures: Pictures, thresholds: Thresholds) -> ComparedModel:
        """Measure the gradients of images that can be decoded, and judge the version by them.

        Raises:
            NotDiagnosed: it has no gradients to judge.
        """


@dataclass(frozen=True)
class _Labelled:
    """Probabilities of N samples, [N, K], with the index of each one's own label, −1 if it has none."""

    probabilities: Array
    losses: Array
    labels: NDArray[np.int64]


class LocalVersion(Version):
    """A bundle whose graphs run in this process."""

    def __init__(self, place: str, model: OfflineModel) -> None:
        bundle = model.bundle
        self.place, self.model = place, model
        self.name, self.version, self.digest = bundle.name, bundle.version, model.stored.digest
        self.labels, self.label_kind, self.input = bundle.labels, bundle.label_kind, bundle.input
        self.parameters = numbers_in(bundle.layers, bundle.other_parameters)
        self.bytes_on_disk = sum(path.stat().st_size for path in model.stored.directory.iterdir() if path.is_file())
        if bundle.quantized is not None:
            self.notes = (sentence(f"the answers of {bundle.name}@{bundle.version} are {bundle.quantized.of_forward}"),)

    def answers(self, pictures: Pictures) -> list[Answered | str]:
        decoded = pictures.pixels(self.input)
        rows = [row for row, one in enumerate(decoded) if not isinstance(one, str)]
        found: list[Answered | str] = [one if isinstance(one, str) else "" for one in decoded]
        if not rows:
            return found
        logits = finished(self.model.run("forward", np.stack([decoded[row] for row in rows])))["logits"]
        predicted = predicted_by(self.model.bundle, logits)
        own = self._own([pictures.files[row] for row in rows], logits)
        for at, row in enumerate(rows):
            label = int(own.labels[at])
            found[row] = Answered(
                LABELS_BETWEEN.join(predicted[at]),
                float(own.probabilities[at].max()),
                float(own.probabilities[at, label]) if label >= 0 else None,
                float(own.losses[at]) if label >= 0 else None,
            )
        return found

    def _own(self, files: Sequence[LabelledFile], logits: Array) -> _Labelled:
        """Return the probabilities of all labels, and loss and index of each file's own label."""
        kind, places = self.model.kind, {label: place for place, label in reversed(list(enumerate(self.labels)))}
        labels = np.array([places.get(file.label or "", -1) if file.label else -1 for file in files], np.int64)
        if self.label_kind == "exclusive":
            losses = kind.losses(logits, kind.settled(logits, labels))
        else:
            scores = logits.astype(np.float64)[np.arange(len(labels)), np.maximum(labels, 0)]
            losses = np.logaddexp(0.0, -scores)
        return _Labelled(kind.probabilities(logits), losses, labels)

    def gradients(self, pictures: Pictures, thresholds: Thresholds) -> ComparedModel:
        bundle, model = self.model.bundle, self.model
        if "weight_norms" not in bundle.graphs:
            raise NotDiagnosed(f"{bundle.name}@{bundle.version} has no graph of its gradients; its notes say why")
        pixels = np.stack([one for one in pictures.pixels(self.input) if not isinstance(one, str)])
        files = [LabelledFile(file.path, self.label_of(file)) for file in pictures.files]
        measured = finished(measure_gradients(model.run, bundle, pixels, labels_of(files, bundle)))
        diagnosis = diagnose(bundle, measured, thresholds)
        return ComparedModel(
            model=bundle.name,
            version=bundle.version,
            bundle=self.digest,
            execution_provider=model.runtime.provider,
            request_id="",
            samples=diagnosis.samples,
            layers=diagnosis.layers,
            verdict=diagnosis.verdict,
        )


def numbers_in(layers: Sequence[Layer], others: Sequence[OtherParameter]) -> int:
    """Return the numbers in the weights of layers and in other trained tensors."""
    return sum(one.parameters for one in layers) + sum(one.parameters for one in others)
