"""Lists the models that there are, served and not, each with its state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from service.bundles.disk import BundleRefused, read_identity
from service.bundles.folder import Fingerprint, FoundBundle, Look
from service.bundles.registry import Registry
from service.bundles.served_model import ServedModel
from service.bundles.source import Source

State = Literal["READY", "LOADING", "UNAVAILABLE"]
STILL_OLD: Final = "an earlier state of its bundle is served: "


class Entry(NamedTuple):
    """One version of a model, or one place that holds none."""

    name: str
    """Name of the model, or the place where nobody knows it."""
    version: str
    """Digits; empty where nobody knows it."""
    state: State
    reason: str
    """Why it is in this state; empty where there is nothing to say."""


def index_of(registry: Registry) -> list[Entry]:
    """Return what the registry knows: every version that is served, then every bundle that is not."""
    return served_in(registry) + [_entry_at(place, reason) for place, reason in not_served_in(registry).items()]


def served_in(registry: Registry) -> list[Entry]:
    reasons = {**registry.refused, **registry.unavailable}
    return [
        _entry_of(model, reasons.get(registry.places.get((model.name, model.version), ""), ""))
        for model in registry.models()
    ]


def not_served_in(registry: Registry) -> dict[str, str]:
    """Return the places of which nothing is served, as they are shown, each with the reason."""
    places = set(registry.places.values())
    reasons = {**registry.refused, **registry.unavailable}
    return {place: reason for place, reason in reasons.items() if place not in places}


def _entry_of(model: ServedModel, reason: str) -> Entry:
    graph = model.graphs["forward"]
    if graph.state == "ready":
        return Entry(model.name, model.version, "READY", STILL_OLD + reason if reason else "")
    if graph.state == "failed":
        return Entry(model.name, model.version, "UNAVAILABLE", graph.failure or "")
    return Entry(model.name, model.version, "LOADING", "")


def _entry_at(place: str, reason: str) -> Entry:
    path = PurePosixPath(place)
    is_version = path.name.isdecimal() and path.parent.name != ""
    name, version = (str(path.parent), path.name) if is_version else (place, "")
    return Entry(name, version, "UNAVAILABLE", reason)


class Offer(NamedTuple):
    """One bundle that might be loaded, under the name and version by which people know it."""

    name: str
    version: str
    """Empty if its description does not say it."""
    place: Path
    found: FoundBundle


class Offers:
    """Tells the names of the bundles that are there."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._identities: dict[Path, tuple[Fingerprint, tuple[str, str]]] = {}

    def of(self, look: Look) -> list[Offer]:
        """Return the bundles of a look by their names. Only descriptions that have changed are read."""
        identities: dict[Path, tuple[Fingerprint, tuple[str, str]]] = {}
        offers = []
        for place, found in look.bundles.items():
            kept = self._identities.get(found.directory)
            if kept is not None and kept[0] == found.fingerprint:
                identity = kept[1]
            else:
                try:
                    identity = read_identity(found.directory)
                except BundleRefused:
                    offers.append(Offer(self._name_by(place), "", place, found))
                    continue
            identities[found.directory] = (found.fingerprint, identity)
            offers.append(Offer(*identity, place, found))
        self._identities = identities
        return offers

    def _name_by(self, place: Path) -> str:
        """Return the name that people give a bundle that does not tell it: its folder's."""
        for source in self._sources:
            if source.is_collection and place.is_relative_to(source.path):
                return place.relative_to(source.path).parts[0]
        return place.name
