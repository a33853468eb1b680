"""The models that are served at the moment and their versions; which of them a request means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from service.bundles.served_model import ServedModel
from service.errors import NotReady, ServiceError, UnknownModel

ONLY_FOLDER: Final = "."
"""Shown for the folder of bundles itself, where it is the only source; its bundles are shown by their names."""

HOW_TO_LOAD: Final = (
    "POST /v2/repository/index lists what may be loaded, POST /v2/repository/models/{name}/load loads it"
)


class Registry:
    """The served models by name and version. Replaced as a whole, so that every reader sees a consistent state."""

    def __init__(
        self, default_model: str | None = None, *, is_explicit: bool = False, shadow: str | None = None
    ) -> None:
        """`default_model` is a name or "name@version"; None means the first model by name.

        `is_explicit`: models are served only once they are asked for by name. `shadow` is the "name@version" that no
        request gets which does not name the version, as long as there is another model to answer it.
        """
        self._wanted_default = default_model
        self.shadow = shadow
        self.is_explicit = is_explicit
        self.not_loaded: Mapping[str, str] = {}
        """Name of a model that the settings ask for and that is not served → why; only where `is_explicit`."""
        self.being_loaded: tuple[str, ...] = ()
        """Names that are being loaded on request."""
        self.places: Mapping[tuple[str, str], str] = {}
        """Name and version of a served model → the place of its bundle, as it is shown."""
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
        models: Mapping[str, ServedModel],
        refused: Mapping[str, str],
        unavailable: Mapping[str, str] | None = None,
        importing: Iterable[str] = (),
    ) -> None:
        """Serve exactly these models from now on; they are given by the places of their bundles."""
        ordered = sorted(models.values(), key=lambda model: (model.name, int(model.version)))
        self.places = {(model.name, model.version): place for place, model in models.items()}
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
        if self._wanted_default is not None:
            return self._wanted_default
        names = [model.name for model in self._models.values() if model.full_name != self.shadow] or self.names()
        return next(iter(names), None)

    def is_default(self, model: ServedModel) -> bool:
        """Return whether requests that name no model may get this one."""
        default = self.default_name
        return default == model.full_name or (default == model.name and model in self._answering(model.name))

    def default_models(self) -> list[ServedModel]:
        """Return the versions that the default may mean; none if it is not served."""
        return [model for model in self._models.values() if self.is_default(model)]

    def shadowed(self, shadow: ServedModel) -> ServedModel | None:
        """Return the model whose answers `shadow` is compared with; None if it is the only one that could answer.

        That is what a request for the shadow's name gets, or, without another version of that name, the default model.

        Raises:
            UnknownModel, NotReady: as `select`.
        """
        named = self.select(shadow.name)
        found = named if named is not shadow else self.select()
        return None if found is shadow else found

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
            version: a version; None for the highest one that is ready, and no shadow.

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
            if self.is_explicit:
                raise UnknownModel(f"No model is served; {HOW_TO_LOAD}.")
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
            answering = self._answering(name)
            return next((model for model in reversed(answering) if model.ready), answering[-1])
        for model in versions:
            if model.version == version:
                return model
        self._check_available(name, version)
        for place, reason in self.refused.items():
            if is_place_of(place, name, version):
                raise UnknownModel(f"The bundle {place} is refused: {reason}.")
        if not versions:
            more = f"; {HOW_TO_LOAD}" if self.is_explicit else ""
            raise UnknownModel(
                f"There is no model {name[:64]!r}; served are {', '.join(self.names()) or 'none'}{more}."
            )
        numbers = ", ".join(model.version for model in versions)
        raise UnknownModel(f"{name} has no version {(version or '')[:16]!r}; served are {numbers}.")

    def _answering(self, name: str) -> list[ServedModel]:
        """Return the versions that requests without a version may get, lowest first: the shadow is the last resort."""
        versions = self.versions(name)
        return [model for model in versions if model.full_name != self.shadow] or versions

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
            if place in self.sources or is_version or is_place_of(place, name, version):
                what = "The folder of bundles" if place == ONLY_FOLDER else f"The bundle {place}"
                raise NotReady(f"{what} is unavailable at the moment: {reason}.")

    def _check_complete(self) -> None:
        if not self.complete:
            _, told = self.absent_source() or ("", "The bundles are still being read.")
            raise NotReady(told)


def is_place_of(place: str, name: str, version: str | None) -> bool:
    """Return whether a model of this name and version would be at a place: …/name, …/name/version or …/name.onnx."""
    path = PurePosixPath(place)
    return name in (path.name, path.name.removesuffix(".onnx")) or (path.parent.name, path.name) == (name, version)
