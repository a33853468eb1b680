"""A model of a running service, asked over HTTP by the standard library alone."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import BaseModel

from service.client.errors import ContraflowError
from service.client.model import Model
from service.client.results import MeasuredGradients
from service.diagnostics.explanation.asked import Asked
from service.diagnostics.schemas.explanation import Explanations
from service.http.answers.schemas import ModelDescription, ModelList, Predictions
from service.http.requests.labels import Label
from service.offline import asking

T = TypeVar("T", bound=BaseModel)


class Service(asking.Service):
    """The address of a running service; what it refuses is a `ContraflowError`."""

    def ask(self, path: str, content: dict[str, Any] | None = None) -> bytes:
        """Return the body of the answer to GET `path`, or to POST with `content` as JSON.

        Raises:
            ContraflowError: the service refuses, in its own words, or does not answer.
        """
        try:
            return super().ask(path, content)
        except asking.NoAnswer as error:
            raise ContraflowError(str(error), error.slug) from None

    def read(self, schema: type[T], body: bytes) -> T:
        """Return an answer as an object; ContraflowError where it has another shape."""
        try:
            return super().read(schema, body)
        except asking.NoAnswer as error:
            raise ContraflowError(str(error)) from None


class RemoteModel(Model):
    """A model of a running service. A request goes out for every call, with all of its images."""

    def __init__(self, service: Service, selection: str | None) -> None:
        """Ask the service for the model: `name`, `name@version`, or None for its default.

        Raises:
            ContraflowError: the service does not answer, or has no such model.
        """
        self._service = service
        name, _, version = (selection or self._default()).partition("@")
        query = "?" + urllib.parse.urlencode({"version": version}) if version else ""
        found = service.read(ModelDescription, service.ask(f"/models/{urllib.parse.quote(name, safe='')}{query}"))
        self.name, self.version, self.labels = found.name, found.version, tuple(found.labels)
        self.label_kind = found.label_kind
        self._selection = {} if selection is None else {"model": selection}

    def _default(self) -> str:
        served = self._service.read(ModelList, self._service.ask("/models"))
        if served.default is None:
            raise ContraflowError(f"{self._service.url}: {served.default_missing or 'no model is served'}")
        return served.default

    def _predict(self, files: Sequence[bytes], top_k: int) -> Predictions:
        content = {"images": [asking.in_text(file) for file in files], "top_k": top_k, **self._selection}
        return self._service.read(Predictions, self._service.ask("/predict", content))

    def _gradients(
        self, files: Sequence[bytes], labels: Sequence[Label], include: list[str], thresholds: dict[str, float]
    ) -> MeasuredGradients:
        images = [{"data": asking.in_text(file), "label": label} for file, label in zip(files, labels, strict=True)]
        content = {"images": images, "include": include, "thresholds": thresholds, **self._selection}
        return self._service.read(MeasuredGradients, self._service.ask("/diagnostics/gradients", content))

    def _explain(self, files: Sequence[bytes], labels: Sequence[Label], asked: Asked) -> Explanations:
        images = [{"data": asking.in_text(file), "label": label} for file, label in zip(files, labels, strict=True)]
        content = {"images": images, **asdict(asked), **self._selection}
        return self._service.read(Explanations, self._service.ask("/diagnostics/explain", content))
