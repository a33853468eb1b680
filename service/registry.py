"""The models that are served right now: which, in which versions, and how ready each graph is."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from service.bundle_schema import Bundle, GraphName, InputSpec
from service.bundles import StoredBundle
from service.errors import InvalidParameter, NotReady, UnknownModel
from service.runtime import Session

GraphState = Literal["unloaded", "loading", "ready", "failed"]

FAVOURITE = "resnet20"
"""The default model where the setting names none."""


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
        self.failure: str | None = None
        self.best_batch = 1
        self.seconds_per_image = 0.01
        self.retired = False

    def open(self, session: Session, best_batch: int, seconds_per_image: float) -> None:
        self.session, self.best_batch, self.seconds_per_image = session, best_batch, seconds_per_image
        self.state = "ready"

    def fail(self, reason: str) -> None:
        self.state, self.failure = "failed", reason

    def put_off(self) -> None:
        """It could not be loaded now, but perhaps on its next use."""
        self.state = "unloaded"

    def check_ready(self) -> None:
        """Raises `NotReady` unless the graph can run."""
        if self.state == "failed":
            raise NotReady(f"The graph {self.name} of {self.model} cannot be loaded.")
        if self.state != "ready":
            raise NotReady(f"The graph {self.name} of {self.model} is still loading.", retry_after=1.0)

    def learn(self, images: int, seconds: float) -> None:
        """Follows the measured speed: a large batch says more than a small one, bad news more than good.

        Too low an estimate accepts requests that will be late; too high a one only refuses early.
        """
        change = seconds / images - self.seconds_per_image
        self.seconds_per_image += change * images / (images + (8 if change > 0 else 32))


class ServedModel:
    """One version of one bundle, as long as it is served."""

    def __init__(self, stored: StoredBundle, execution_provider: str) -> None:
        self.stored = stored
        self.bundle: Bundle = stored.bundle
        self.digest = stored.digest
        self.name = stored.bundle.name
        self.version = stored.bundle.version
        self.execution_provider = execution_provider
        self.graphs: Mapping[GraphName, ServedGraph] = MappingProxyType(
            {name: ServedGraph(f"{self.name}@{self.version}", name, self.bundle.input) for name in self.bundle.graphs}
        )

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

    def retire(self) -> None:
        for graph in self.graphs.values():
            graph.retired = True


class Registry:
    """Name and version → model. Replaced as a whole, so that every reader sees one consistent state."""

    def __init__(self, default_model: str | None = None) -> None:
        self._wanted_default = default_model
        self._models: Mapping[tuple[str, str], ServedModel] = {}
        self._newest: dict[str | None, ServedModel] = {}
        self.refused: Mapping[str, str] = {}
        """Folder of a bundle that is not served → why."""

    def replace(self, models: Iterable[ServedModel], refused: Mapping[str, str]) -> None:
        """Serves exactly these from now on."""
        ordered = sorted(models, key=lambda model: (model.name, int(model.version)))
        self._models = {(model.name, model.version): model for model in ordered}
        self._newest = {}  # after the models: what is remembered here was found among them
        self.refused = dict(refused)

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
        names = self.names()
        for wanted in (self._wanted_default, FAVOURITE):
            if wanted in names:
                return wanted
        return names[0] if names else None

    def select(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model of that name ("name@version" too; None: the default), of that version (None: the highest).

        Raises:
            UnknownModel: there is none.
        """
        newest = self._newest  # of the state looked at: another thread may replace it meanwhile
        if version is None and name in newest:
            return newest[name]
        chosen = self._find(name, version)
        if version is None and chosen.ready:
            newest[name] = chosen
        return chosen

    def _find(self, name: str | None, version: str | None) -> ServedModel:
        if name is not None and "@" in name:
            name, _, version = name.partition("@")
        name = name if name is not None else self.default_name
        if name is None:
            raise UnknownModel("No model is served; see /models for what was refused.")
        versions = self.versions(name)
        if not versions and name in self.refused:
            raise UnknownModel(f"The bundle {name} is refused: {self.refused[name]}.")
        if not versions:
            raise UnknownModel(f"There is no model {name[:64]!r}; served are {', '.join(self.names()) or 'none'}.")
        if version is None:
            return next((model for model in reversed(versions) if model.ready), versions[-1])
        for model in versions:
            if model.version == version:
                return model
        numbers = ", ".join(model.version for model in versions)
        raise UnknownModel(f"{name} has no version {version[:16]!r}; served are {numbers}.")
