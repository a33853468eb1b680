"""A version that a running service serves: `http://HOST:PORT`, or `http://HOST:PORT#NAME@VERSION`."""

from __future__ import annotations

import math
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from service.contract.bundle_schema import InputSpec, LabelKindName, Layer, OtherParameter
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.diagnostics.schemas.gradients import ComparedModel, Gradients
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import sentence
from service.offline.against.versions import Answered, NotDiagnosed, Pictures, Version, numbers_in
from service.offline.asking import SCHEMES, NoAnswer, Service, in_text

TIMEOUT: Final = 120.0
"""Seconds that one request may take."""
PATIENCE: Final = 60.0
"""Seconds in which a busy service is asked again."""
OVERHEAD: Final = 4096
"""Bytes of a body beside its images and labels, at most."""
MOST_IMAGES: Final = 32
"""Images of one request; a service may allow fewer."""
OF_SOME_IMAGES: Final = frozenset(
    {"undecodable-image", "empty-image", "unknown-image-format", "image-too-large", "too-large"}
)
"""Refusals that say something of the images, and nothing of the model."""


class _Read(BaseModel):
    """What is read of an answer; the rest is left alone."""

    model_config = ConfigDict(extra="ignore")


class _Limits(_Read):
    body_bytes: int


class _Served(_Read):
    default: str | None
    limits: _Limits


class _Description(_Read):
    name: str
    version: str
    bundle: str
    labels: tuple[str, ...]
    label_kind: LabelKindName
    input: InputSpec
    layers: tuple[Layer, ...]
    other_parameters: tuple[OtherParameter, ...]


class _Ranked(_Read):
    label: str
    probability: float


class _Prediction(_Read):
    labels: list[_Ranked]
    predicted: list[str] | None = None


class _Predictions(_Read):
    bundle: str
    quantized: str | None = None
    predictions: list[_Prediction]


def is_address(place: str) -> bool:
    """Tell whether a version is named by the address of a service."""
    return place.startswith(SCHEMES)


class ServedVersion(Version):
    """A model of a running service, whose answers are those of its `/predict`."""

    def __init__(self, place: str, api_key: str | None) -> None:
        """Ask the service for the model that `place` names, or for its default.

        Raises:
            NoAnswer: the service does not answer, or has no such model.
        """
        url, _, selection = place.partition("#")
        self.place, self._service = place, Service(url, api_key, TIMEOUT, PATIENCE)
        served = self._service.read(_Served, self._service.ask("/models"))
        self._limits = served.limits
        named = urllib.parse.unquote(selection) or served.default
        if named is None:
            raise NoAnswer(f"{url} has no default model: name one, {url}#NAME@VERSION")
        name, _, version = named.partition("@")
        query = "?" + urllib.parse.urlencode({"version": version}) if version else ""
        found = self._service.read(
            _Description, self._service.ask(f"/models/{urllib.parse.quote(name, safe='')}{query}")
        )
        self.name, self.version, self.digest = found.name, found.version, found.bundle
        self.labels, self.label_kind, self.input = found.labels, found.label_kind, found.input
        self.parameters = numbers_in(found.layers, found.other_parameters)
        # By its version from now on: another may become the default, or the highest, while images are measured.
        self._selection = f"{found.name}@{found.version}"

    def answers(self, pictures: Pictures) -> list[Answered | str]:
        found: list[Answered | str] = []
        for part in self._parts(pictures.contents):
            found += self._answered(pictures, part)
        return found

    def gradients(self, pictures: Pictures, thresholds: Thresholds) -> ComparedModel:
        images = [
            {"data": in_text(content), "label": self.label_of(file)}
            for file, content in zip(pictures.files, pictures.contents, strict=True)
        ]
        try:
            body = self._service.ask(
                "/diagnostics/gradients", {"images": images, "model": self._selection, "thresholds": asdict(thresholds)}
            )
        except NoAnswer as error:
            raise NotDiagnosed(f"{self.place}: {error}") from None
        answer = self._service.read(Gradients, body)
        self._check_bundle(answer.bundle)
        return ComparedModel(
            **answer.model_dump(include={"model", "version", "bundle", "execution_provider", "request_id"}),
            samples=answer.samples,
            layers=answer.layers,
            verdict=answer.verdict,
        )

    def _parts(self, contents: Sequence[bytes]) -> Iterator[range]:
        """Cut images into parts, each of which one request may have."""
        first, size = 0, 0
        for row, content in enumerate(contents):
            length = 4 * len(content) // 3 + 100
            full = size + length > self._limits.body_bytes - OVERHEAD or row - first == MOST_IMAGES
            if full and row > first:
                yield range(first, row)
                first, size = row, 0
            size += length
        if first < len(contents):
            yield range(first, len(contents))

    def _answered(self, pictures: Pictures, rows: range) -> list[Answered | str]:
        """Return the answers to some images; where a request is refused for its images, each half is sent alone."""
        images = [in_text(pictures.contents[row]) for row in rows]
        content: dict[str, Any] = {"images": images, "top_k": len(self.labels), "model": self._selection}
        try:
            body = self._service.ask("/predict", content)
        except NoAnswer as error:
            if error.slug not in OF_SOME_IMAGES:
                raise
            if len(rows) == 1:
                return [str(error)]
            half = len(rows) // 2
            return self._answered(pictures, rows[:half]) + self._answered(pictures, rows[half:])
        answer = self._service.read(_Predictions, body)
        self._check_bundle(answer.bundle)
        if answer.quantized is not None:
            self.notes = (sentence(f"the answers of {self._selection} are {answer.quantized}"),)
        return [self._said(one, pictures.files[row].label) for row, one in zip(rows, answer.predictions, strict=True)]

    def _said(self, prediction: _Prediction, label: str | None) -> Answered:
        ranked = prediction.labels
        names = [ranked[0].label] if prediction.predicted is None else self._in_order(prediction.predicted)
        own = next((one.probability for one in ranked if one.label == label), None)
        loss = None if own is None else -math.log(own) if own > 0 else math.inf if own == 0 else math.nan
        return Answered(LABELS_BETWEEN.join(names), ranked[0].probability, own, loss)

    def _in_order(self, names: Sequence[str]) -> list[str]:
        chosen = frozenset(names)
        return [label for label in self.labels if label in chosen]

    def _check_bundle(self, digest: str) -> None:
        if digest != self.digest:
            raise NoAnswer(f"{self.place}: {self._selection} was replaced by another bundle while it was asked")
