"""The models that are served at the moment, their versions, and the state of each of their graphs."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, Literal

from service.bundles.disk import StoredBundle
from service.contract.bundle_schema import Bundle, GraphName, InputSpec
from service.contract.label_kinds import EXCLUSIVE, LabelKind, kind_called
from service.contract.outputs import mixes_samples
from service.contract.runtime import Session
from service.errors import InvalidParameter, NotReady, ServiceError, UnknownModel

RECORDS: Final = frozenset({"training", "parity"})
"""Fields of a bundle's description that are only shown, and not computed with."""

ASSUMED_SECONDS_PER_IMAGE: Final = 0.01
"""Speed of a graph that was never measured."""

GraphState = Literal["unloaded", "loading", "ready", "failed"]


class ServedGraph:
    """One graph of one served model: its state, its session once it is loaded, and its speed."""

    def __init__(self, model: str, name: GraphName, spec: InputSpec, label_kind: LabelKind = EXCLUSIVE) -> None:
        self.model = model
        self.name: GraphName = name
        self.spec = spec
        self.label_kind = label_kind
        self.diagnostic = name != "forward"
        self.exclusive = mixes_samples(name)
        """True if samples mix in it: requests must not share a run, and one request must not be cut into several."""
        self.session: Session | None = None
        self.state: GraphState = "unloaded"
        self.lock = threading.Lock()
        """Held while the graph is being loaded."""
        self.asked_for = False
        """True once a request has waited for it; it is then loaded before others."""
        self.failure: str | None = None
        self.failures = 0
        """Failures in a row, for reasons that may pass."""
        self.retry_at: float | None = None
        """Time from which a failed graph may be tried again, on the monotonic clock; None: never."""
        self.best_batch = 1
        self.seconds_per_image = ASSUMED_SECONDS_PER_IMAGE
        self.retired = False

    def open(self, session: Session, best_batch: int, seconds_per_image: float) -> None:
        self.session, self.best_batch, self.seconds_per_image = session, best_batch, seconds_per_image
        self.failure, self.failures, self.retry_at = None, 0, None
        self.state = "ready"

    def fail(self, reason: str, retry_after: float | None = None) -> None:
        """Record that loading failed; it may be tried again after `retry_after` seconds, or never (None)."""
        self.failure = reason
        self.failures += 1
        self.retry_at = None if retry_after is None else time.monotonic() + retry_after
        self.state = "failed"

    def put_off(self) -> None:
        """Leave the graph unloaded until its next use."""
        self.state = "unloaded"

    def may_load(self, now: float) -> bool:
        """Return whether it makes sense to load the graph at `now` (monotonic clock)."""
        failed_for_now = self.state == "failed" and self.retry_at is not None and now >= self.retry_at
        return self.state == "unloaded" or failed_for_now

    def check_ready(self) -> None:
        """Raise `NotReady` unless the graph can run."""
        if self.state == "failed":
            wait = None if self.retry_at is None else max(1.0, self.retry_at - time.monotonic())
            raise NotReady(f"{self.model}: {self.failure}.", retry_after=wait)
        if self.state != "ready":
            raise NotReady(f"The graph {self.name} of {self.model} is still loading.")

    def learn(self, images: int, seconds: float) -> None:
        """Correct `seconds_per_image` by a run of `images` that took `seconds`.

        A large batch counts more than a small one, and a slow run more than a fast one: too low an estimate accepts
        requests that will be late, too high a one only refuses some too early.
        """
        change = seconds / images - self.seconds_per_image
        self.seconds_per_image += change * images / (images + (8 if change > 0 else 32))


class ServedModel:
    """One version of one bundle while it is served."""

    def __init__(self, stored: StoredBundle, execution_provider: str) -> None:
        light = stored.bundle.model_copy(update={"training": None, "parity": ()})
        self.stored = replace(stored, bundle=light)
        self.bundle: Bundle = light
        """Description of the bundle without its `RECORDS`."""
        # The standard library's JSON keeps NaN, pydantic's does not.
        records = json.dumps(stored.bundle.model_dump(include=set(RECORDS)))
        self._records = zlib.compress(records.encode(), level=1)
        self.digest = stored.digest
        self.name = stored.bundle.name
        self.version = stored.bundle.version
        self.execution_provider = execution_provider
        self.graphs: Mapping[GraphName, ServedGraph] = MappingProxyType(
            {name: self._served_graph(name) for name in self.bundle.graphs}
        )

    def _served_graph(self, name: GraphName) -> ServedGraph:
        kind = kind_called(self.bundle.label_kind)
        return ServedGraph(f"{self.name}@{self.version}", name, self.bundle.input, kind)

    def records(self) -> dict[str, Any]:
        """Return how the model was trained and verified. Most of a description's size, so it is kept compressed."""
        found: dict[str, Any] = json.loads(zlib.decompress(self._records))
        return found

    def has(self, graph: GraphName) -> bool:
        return graph in self.graphs

    def graph(self, name: GraphName) -> ServedGraph:
        """Return a graph in whatever state it is.

        Raises:
            InvalidParameter: the bundle has no such graph.
        """
        graph = self.graphs.get(name)
        if graph is None:
            raise InvalidParameter(f"The bundle of {self.name} has no graph {name}.")
        return graph

    @property
    def ready(self) -> bool:
        """True if it predicts; the graphs for diagnostics have their own states."""
        return self.graphs["forward"].state == "ready"

    @property
    def loading(self) -> bool:
        """True while it does not predict yet; a model that failed to load is not loading."""
        return self.graphs["forward"].state in ("unloaded", "loading")

    def retire(self) -> None:
        for graph in self.graphs.values():
            graph.retired = True


ONLY_FOLDER: Final = "."
"""Shown for the folder of bundles itself, where it is the only source; its bundles are shown by their names."""


class Registry:
    """The served models by name and version. Replaced as a whole, so that every reader sees a consistent state."""

    def __init__(self, default_model: str | None = None) -> None:
        """`default_model` is a name or "name@version"; None means the first model by name."""
        self._wanted_default = default_model
        self._models: Mapping[tuple[str, str], ServedModel] = {}
        self._newest: dict[str | None, ServedModel] = {}
        self.complete = False
        """True once the sources of bundles have been looked at for the first time."""
        self.sources: tuple[str, ...] = ()
        """Paths that bundles come from, as they are shown; `ONLY_FOLDER` where it is one folder of bundles."""
        self.importing: tuple[str, ...] = ()
        """Paths of models that are being imported for the first time; they are unavailable, too."""
        self.refused: Mapping[str, str] = {}
        """Place of a bundle whose present state is not served → why."""
        self.unavailable: Mapping[str, str] = {}
        """Place or source that could not be read or loaded for a reason that may pass → why.

        What was served from it before stays in service.
        """

    def replace(
        self,
        models: Iterable[ServedModel],
        refused: Mapping[str, str],
        unavailable: Mapping[str, str] | None = None,
        importing: Iterable[str] = (),
    ) -> None:
        """Serve exactly these models from now on."""
        ordered = sorted(models, key=lambda model: (model.name, int(model.version)))
        self._models = {(model.name, model.version): model for model in ordered}
        self._newest = {}  # only after the models, because readers fill it with what they find among them
        self.refused = dict(refused)
        self.unavailable = dict(unavailable or {})
        self.importing = tuple(importing)
        self.complete = True

    def report_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Keep the served models, and report what could not be looked at."""
        self.unavailable = dict(unavailable)

    def models(self) -> list[ServedModel]:
        """Return all models, by name, then version."""
        return list(self._models.values())

    def names(self) -> list[str]:
        """Return the names of all models, each once, in order."""
        return list(dict.fromkeys(name for name, _ in self._models))

    def versions(self, name: str) -> list[ServedModel]:
        """Return the versions of one model, lowest first; none if there is no such model."""
        return [model for model in self._models.values() if model.name == name]

    @property
    def default_name(self) -> str | None:
        """The default model by the setting, else the first by name; None if there is no model."""
        return self._wanted_default or next(iter(self.names()), None)

    def is_default(self, model: ServedModel) -> bool:
        """Return whether requests that name no model may get this one."""
        return self.default_name in (model.name, f"{model.name}@{model.version}")

    def default_models(self) -> list[ServedModel]:
        """Return the versions that the default may mean; none if it is not served."""
        return [model for model in self._models.values() if self.is_default(model)]

    def missing_default(self) -> str | None:
        """Return why the default model of the settings is not served, in words; None if it is, or if none is set."""
        if self._wanted_default is None or self.default_models():
            return None
        try:
            self.select()
        except ServiceError as reason:
            return reason.detail
        return None

    def select(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return a model by name and version.

        Args:
            name: a name or "name@version"; None for the default model.
            version: a version; None for the highest one that is ready.

        Raises:
            UnknownModel: there is no such model.
            NotReady: it may be there, but could not be read yet; or the default of the settings is not served.
        """
        newest = self._newest  # kept, because another thread may replace it meanwhile
        if version is None and name in newest:
            return newest[name]
        chosen = self._default(version) if name is None else self._find(name, version)
        if version is None and chosen.ready:
            newest[name] = chosen
        return chosen

    def _default(self, version: str | None) -> ServedModel:
        wanted = self.default_name
        if wanted is None:
            self._check_complete()
            if absent := self.absent_source():
                raise NotReady(absent[1])
            reason = "see /models for what was refused" if self.refused else "no bundle has been put there yet"
            raise UnknownModel(f"No model is served; {reason}.")
        try:
            return self._find(wanted if version is None else wanted.partition("@")[0], version)
        except UnknownModel as reason:
            if self._wanted_default is None or (version is not None and self.default_models()):
                raise
            raise NotReady(f"The default model {wanted} is not served. {reason.detail}") from None

    def _find(self, name: str, version: str | None) -> ServedModel:
        if "@" in name:
            name, _, version = name.partition("@")
        versions = self.versions(name)
        if version is None and versions:
            return next((model for model in reversed(versions) if model.ready), versions[-1])
        for model in versions:
            if model.version == version:
                return model
        self._check_available(name, version)
        for place, reason in self.refused.items():
            if _is_place_of(place, name, version):
                raise UnknownModel(f"The bundle {place} is refused: {reason}.")
        if not versions:
            raise UnknownModel(f"There is no model {name[:64]!r}; served are {', '.join(self.names()) or 'none'}.")
        numbers = ", ".join(model.version for model in versions)
        raise UnknownModel(f"{name} has no version {(version or '')[:16]!r}; served are {numbers}.")

    def absent_source(self) -> tuple[str, str] | None:
        """Return where no models can come from yet, in words without names and with them; None if all is there."""
        if self.importing:
            return "A model is being imported.", f"{self.importing[0]} is being imported."
        for source in self.sources:
            if source in self.unavailable:
                told = f"cannot be read: {self.unavailable[source]}."
                alone, named = ("The folder of bundles",) * 2 if source == ONLY_FOLDER else ("A source", source)
                return f"{alone} {told}", f"{named} {told}"
        return None

    def _check_available(self, name: str, version: str | None) -> None:
        """Raise `NotReady` if it cannot be known whether there is such a model."""
        self._check_complete()
        for place, reason in self.unavailable.items():
            is_version = version is None and PurePosixPath(place).parent.name == name
            if place in self.sources or is_version or _is_place_of(place, name, version):
                what = "The folder of bundles" if place == ONLY_FOLDER else f"The bundle {place}"
                raise NotReady(f"{what} is unavailable at the moment: {reason}.")

    def _check_complete(self) -> None:
        if not self.complete:
            _, told = self.absent_source() or ("", "The bundles are still being read.")
            raise NotReady(told)


def _is_place_of(place: str, name: str, version: str | None) -> bool:
    """Return whether a model of this name and version would be at a place: …/name, …/name/version or …/name.onnx."""
    path = PurePosixPath(place)
    return name in (path.name, path.name.removesuffix(".onnx")) or (path.parent.name, path.name) == (name, version)
