"""The models that are served right now: which, in which versions, and how ready each graph is."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal

from service.bundles.disk import StoredBundle
from service.contract.bundle_schema import Bundle, GraphName, InputSpec
from service.contract.runtime import Session
from service.errors import InvalidParameter, NotReady, ServiceError, UnknownModel

RECORDS: Final = frozenset({"training", "parity"})
"""Fields of a bundle's description that nothing is computed with."""

GraphState = Literal["unloaded", "loading", "ready", "failed"]


class ServedGraph:
    """One graph of one served model: its session once loaded, and what is known of its speed."""

    def __init__(self, model: str, name: GraphName, spec: InputSpec) -> None:
        self.model = model
        self.name: GraphName = name
        self.spec = spec
        self.diagnostic = name != "forward"
        self.exclusive = name == "batch_norms"
        """Its samples mix, so requests must not share a run, nor one request be cut into several."""
        self.session: Session | None = None
        self.state: GraphState = "unloaded"
        self.lock = threading.Lock()
        """Held while it is loaded."""
        self.asked_for = False
        """True once a request waits for it, so that it is loaded before others."""
        self.failure: str | None = None
        self.failures = 0
        """In a row, for reasons that may pass."""
        self.retry_at: float | None = None
        """When a failure may be tried again, on the monotonic clock; None: never."""
        self.best_batch = 1
        self.seconds_per_image = 0.01
        self.retired = False

    def open(self, session: Session, best_batch: int, seconds_per_image: float) -> None:
        self.session, self.best_batch, self.seconds_per_image = session, best_batch, seconds_per_image
        self.failure, self.failures, self.retry_at = None, 0, None
        self.state = "ready"

    def fail(self, reason: str, retry_after: float | None = None) -> None:
        """It cannot be loaded; after `retry_after` seconds it may be tried again, with None never."""
        self.failure = reason
        self.failures += 1
        self.retry_at = None if retry_after is None else time.monotonic() + retry_after
        self.state = "failed"

    def put_off(self) -> None:
        """It could not be loaded now, but perhaps on its next use."""
        self.state = "unloaded"

    def may_load(self, now: float) -> bool:
        """True if loading it at `now` (monotonic clock) makes sense."""
        failed_for_now = self.state == "failed" and self.retry_at is not None and now >= self.retry_at
        return self.state == "unloaded" or failed_for_now

    def check_ready(self) -> None:
        """Raises `NotReady` unless the graph can run."""
        if self.state == "failed":
            wait = None if self.retry_at is None else max(1.0, self.retry_at - time.monotonic())
            raise NotReady(f"{self.model}: {self.failure}.", retry_after=wait)
        if self.state != "ready":
            raise NotReady(f"The graph {self.name} of {self.model} is still loading.")

    def learn(self, images: int, seconds: float) -> None:
        """Follows the measured speed: a large batch says more than a small one, bad news more than good.

        Too low an estimate accepts requests that will be late; too high a one only refuses early.
        """
        change = seconds / images - self.seconds_per_image
        self.seconds_per_image += change * images / (images + (8 if change > 0 else 32))


class ServedModel:
    """One version of one bundle, as long as it is served."""

    def __init__(self, stored: StoredBundle, execution_provider: str) -> None:
        light = stored.bundle.model_copy(update={"training": None, "parity": ()})
        self.stored = replace(stored, bundle=light)
        self.bundle: Bundle = light
        """Without its records, see `records`."""
        records = json.dumps(stored.bundle.model_dump(include=set(RECORDS)))  # NaN too, which pydantic leaves out
        self._records = zlib.compress(records.encode(), level=1)
        self.digest = stored.digest
        self.name = stored.bundle.name
        self.version = stored.bundle.version
        self.execution_provider = execution_provider
        self.graphs: Mapping[GraphName, ServedGraph] = MappingProxyType(
            {name: ServedGraph(f"{self.name}@{self.version}", name, self.bundle.input) for name in self.bundle.graphs}
        )

    def records(self) -> dict[str, Any]:
        """How it was trained and verified: most of a description's size, and only shown, so it is kept compressed."""
        found: dict[str, Any] = json.loads(zlib.decompress(self._records))
        return found

    def has(self, graph: GraphName) -> bool:
        return graph in self.graphs

    def graph(self, name: GraphName) -> ServedGraph:
        """The graph, whatever its state.

        Raises:
            InvalidParameter: the bundle has no such graph.
        """
        graph = self.graphs.get(name)
        if graph is None:
            raise InvalidParameter(f"The bundle of {self.name} has no graph {name}.")
        return graph

    @property
    def ready(self) -> bool:
        """Whether it predicts; the graphs for diagnostics have their own states."""
        return self.graphs["forward"].state == "ready"

    @property
    def loading(self) -> bool:
        """True while it does not predict, but will or may; one that failed is not waited for."""
        return self.graphs["forward"].state in ("unloaded", "loading")

    def retire(self) -> None:
        for graph in self.graphs.values():
            graph.retired = True


class Registry:
    """Name and version → model. Replaced as a whole, so that every reader sees one consistent state."""

    def __init__(self, default_model: str | None = None) -> None:
        """`default_model` is a name or "name@version"; None: the first by name."""
        self._wanted_default = default_model
        self._models: Mapping[tuple[str, str], ServedModel] = {}
        self._newest: dict[str | None, ServedModel] = {}
        self.complete = False
        """True once the folder of bundles has been read through."""
        self.refused: Mapping[str, str] = {}
        """Folder of a bundle that is not served, or not in its present state → why."""
        self.unavailable: Mapping[str, str] = {}
        """Folder that could not be read or loaded for a reason that may pass ("." is that of all bundles) → why.

        What was served from it before is served on.
        """

    def replace(
        self, models: Iterable[ServedModel], refused: Mapping[str, str], unavailable: Mapping[str, str] | None = None
    ) -> None:
        """Serves exactly these from now on."""
        ordered = sorted(models, key=lambda model: (model.name, int(model.version)))
        self._models = {(model.name, model.version): model for model in ordered}
        self._newest = {}  # after the models: what is remembered here was found among them
        self.refused = dict(refused)
        self.unavailable = dict(unavailable or {})
        self.complete = True

    def hinder(self, unavailable: Mapping[str, str]) -> None:
        """Serves on what is served, and says what could not be looked at."""
        self.unavailable = dict(unavailable)

    def models(self) -> list[ServedModel]:
        """All of them, by name, then version."""
        return list(self._models.values())

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self._models))

    def versions(self, name: str) -> list[ServedModel]:
        """The versions of one model, lowest first; empty if there are none."""
        return [model for model in self._models.values() if model.name == name]

    @property
    def default_name(self) -> str | None:
        """The default model as it is asked for: what the setting says, else the first by name; None: there is none."""
        return self._wanted_default or next(iter(self.names()), None)

    def is_default(self, model: ServedModel) -> bool:
        """True if requests that name no model may get this one."""
        return self.default_name in (model.name, f"{model.name}@{model.version}")

    def default_models(self) -> list[ServedModel]:
        """The versions that the default may mean; empty if it is not served."""
        return [model for model in self._models.values() if self.is_default(model)]

    def missing_default(self) -> str | None:
        """Why the default model that is set is not served, in words; None if it is, or none is set."""
        if self._wanted_default is None or self.default_models():
            return None
        try:
            self.select()
        except ServiceError as reason:
            return reason.detail
        return None

    def select(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model of that name ("name@version" too; None: the default), of that version (None: the highest).

        Raises:
            UnknownModel: there is none.
            NotReady: it may be there, but could not be read yet; or the default that is set is not served.
        """
        newest = self._newest  # of the state looked at: another thread may replace it meanwhile
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
            raise UnknownModel("No model is served; see /models for what was refused.")
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
        for folder in (name, f"{name}/{version}"):
            if folder in self.refused:
                raise UnknownModel(f"The bundle {folder} is refused: {self.refused[folder]}.")
        if not versions:
            raise UnknownModel(f"There is no model {name[:64]!r}; served are {', '.join(self.names()) or 'none'}.")
        numbers = ", ".join(model.version for model in versions)
        raise UnknownModel(f"{name} has no version {(version or '')[:16]!r}; served are {numbers}.")

    def _check_available(self, name: str, version: str | None) -> None:
        """Raises `NotReady` where nobody can say whether there is such a model."""
        self._check_complete()
        for folder, reason in self.unavailable.items():
            versions_unknown = version is None and folder.startswith(f"{name}/")
            if folder in (name, f"{name}/{version}", ".") or versions_unknown:
                what = "The folder of bundles" if folder == "." else f"The bundle {folder}"
                raise NotReady(f"{what} cannot be had at the moment: {reason}.")

    def _check_complete(self) -> None:
        if not self.complete:
            reason = self.unavailable.get(".")
            told = f"The folder of bundles cannot be read: {reason}." if reason else "The bundles are still being read."
            raise NotReady(told)
