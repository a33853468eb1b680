"""Serves the models that are asked for by name, and no others: the open protocol's repository in its explicit mode.

A load reads all versions of one name as they are now. It succeeds whole, or it changes nothing but the reasons that
are reported; what was served before stays in service. Versions that are no longer there are retired by it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from service.bundles.folder import POSSIBLE_NAME, FoundBundle, Look
from service.bundles.index import Entry, Offers, not_served_in, served_in
from service.bundles.known import GONE_AFTER, IMPORTING, Known, KnownBundles
from service.bundles.opening import pause_after
from service.bundles.registry import Registry, is_place_of
from service.errors import MalformedRequest, NotReady
from service.output.printable import printable

log = logging.getLogger("contraflow.bundles")

ALL = "*"
"""In place of a name: all that there are."""
NOT_LOADED, UNLOADED = "not loaded", "unloaded"


class Failure(NamedTuple):
    """Why a model cannot be loaded."""

    reason: str
    may_pass: bool


class Repository:
    """Loads and unloads models; only one thread at a time does so. Any thread may read the index."""

    def __init__(
        self, known: KnownBundles, registry: Registry, load_models: Iterable[str], stop: threading.Event
    ) -> None:
        """`load_models` are loaded by the first `refresh`; `ALL` stands for all."""
        self._known = known
        self._registry = registry
        self._stop = stop
        self._named = set(load_models) - {ALL}
        """Names that the settings ask for."""
        self._pending = set(load_models)
        """Those that are still to be loaded, or to be tried again because their failure may pass."""
        self._told: Mapping[str, Failure] = {}
        """Failures of the last `refresh`, which have been logged."""
        self._failures = 0
        self._retry_at: float | None = None
        self._names: dict[Path, str] = {}
        """Place of a bundle that is known → its name."""
        self._unloaded: set[str] = set()
        self._offers = Offers(known.sources)
        self._turn = threading.Lock()

    def retry_times(self) -> list[float]:
        """Return when `refresh` is to be called again, on the monotonic clock."""
        return [] if self._retry_at is None else [self._retry_at]

    def refresh(self) -> None:
        """Load what the settings ask for and is not loaded yet."""
        with self._turn:
            names, is_whole = sorted(self._pending - {ALL}), True
            if ALL in self._pending:
                look = self._known.look(is_watching=False)
                names = sorted({*names, *(offer.name for offer in self._offers.of(look))} - self._settled())
                is_whole = not look.unreadable and not look.importing
            failures = self._bring(names)
            for name in failures.keys() - self._told.keys():
                log.error("%s cannot be loaded: %s", name, failures[name].reason)
            self._told = failures
            self._pending = {name for name in names if name in failures and failures[name].may_pass}
            self._pending |= set() if is_whole else {ALL}
            self._failures = self._failures + 1 if self._pending else 0
            self._retry_at = time.monotonic() + pause_after(self._failures) if self._pending else None

    def load(self, name: str) -> None:
        """Serve all versions of a model as they are now.

        Raises:
            MalformedRequest: there is no such model, or it is refused.
            NotReady: it cannot be read or loaded for a reason that may pass.
        """
        _check_name(name)
        with self._turn:
            self._registry.being_loaded = (name,)
            try:
                failure = self._bring([name]).get(name)
            finally:
                self._registry.being_loaded = ()
            if failure is None:
                self._pending.discard(name)
                return
        log.warning("%s cannot be loaded: %s", name, failure.reason)
        told = f"Failed to load {name}: {failure.reason}."
        raise NotReady(told) if failure.may_pass else MalformedRequest(told)

    def unload(self, name: str) -> None:
        """Serve a model no longer, in no version; requests in progress are answered. One not served is left alone.

        Raises:
            MalformedRequest: it is no name of a model.
        """
        _check_name(name)
        with self._turn:
            self._pending.discard(name)
            self._named.discard(name)
            kept = {place: known for place, known in self._known.by_place.items() if self._names[place] != name}
            if len(kept) < len(self._known.by_place):
                self._unloaded.add(name)
                log.info("%s is unloaded", name)
            self._put_into_service(kept, {})

    def index(self) -> list[Entry]:
        """Return all that there is, from a look at the sources: what is served, and what might be."""
        look = self._known.look(is_watching=False)
        listed = served_in(self._registry)
        served = {(entry.name, entry.version) for entry in listed}
        unknown = {**look.unreadable, **look.refused, **dict.fromkeys(look.importing, IMPORTING)}
        reasons = {self._known.shown(place): reason for place, reason in unknown.items()}
        reasons |= not_served_in(self._registry)
        for offer in self._offers.of(look):
            reason = reasons.pop(self._known.shown(offer.place), None)
            if (offer.name, offer.version) not in served:
                listed.append(Entry(offer.name, offer.version, *self._state_of(offer.name, reason)))
        return listed + [Entry(place, "", "UNAVAILABLE", reason) for place, reason in reasons.items()]

    def _settled(self) -> set[str]:
        """Return the names of which the first load, or a request, has decided."""
        return self._unloaded | set(self._names.values()) - self._pending

    def _state_of(self, name: str, reason: str | None) -> tuple[Literal["LOADING", "UNAVAILABLE"], str]:
        if name in self._registry.being_loaded:
            return "LOADING", ""
        return "UNAVAILABLE", reason or (UNLOADED if name in self._unloaded else NOT_LOADED)

    def _bring(self, names: Sequence[str]) -> dict[str, Failure]:
        """Read and load the bundles of these names; return why those are not served that are not."""
        look = self._look_for(names)
        offers = self._offers.of(look)
        wanted = {name: {offer.place: offer.found for offer in offers if offer.name == name} for name in names}
        failures = {name: failure for name in names if (failure := self._obstacle(name, [*wanted[name]], look))}
        before = self._known.by_place
        after = {place: known for place, known in before.items() if self._stays(place, wanted, failures)}
        for name in wanted.keys() - failures.keys():
            for place, found in wanted[name].items():
                self._names[place] = name
                after[place] = _unchanged(before.get(place), found) or self._known.read(place, found)
        if not self._registry.complete:  # a service that has just started says at once which models it is loading
            self._known.publish(after, Look())
            log.info("models: %s", ", ".join(self._registry.names()) or "none is loaded; model_control is explicit")
        self._known.load_forward_graphs(after)
        for name in wanted.keys() - failures.keys():
            failure = self._failure_among(wanted[name], after, name)
            if failure is not None:
                failures[name] = failure
                self._put_back(name, after)
        self._unloaded -= wanted.keys() - failures.keys()
        self._put_into_service(after, failures)
        return failures

    def _stays(self, place: Path, wanted: Mapping[str, Mapping[Path, FoundBundle]], failures: Iterable[str]) -> bool:
        """Return whether a known bundle is not among those that are gone from where they were loaded."""
        name = self._names[place]
        return name not in wanted or name in failures or place in wanted[name]

    def _failure_among(self, places: Iterable[Path], after: Mapping[Path, Known], name: str) -> Failure | None:
        twice = self._known.twice(after)
        for place in places:
            known, shown = after[place], self._known.shown(place)
            where = "" if shown == name else f"{shown}: "
            if reason := known.refusal or twice.get(place):
                return Failure(f"{where}{reason}", may_pass=False)
            if reason := known.unavailable:
                return Failure(f"{where}{reason}", may_pass=True)
            if known.model is not None and not known.model.ready:
                return Failure("the service ends", may_pass=True)
        return None

    def _put_back(self, name: str, after: dict[Path, Known]) -> None:
        """Undo what a load has changed, but for what is known of the bundles that failed."""
        before = self._known.by_place
        for place in [place for place, known_as in self._names.items() if known_as == name]:
            known, old = after.get(place), before.get(place)
            if known is not None and (known.refusal or known.unavailable):
                continue
            if known is not None and known.model is not None and known.model is not (old and old.model):
                known.model.retire()
            if old is not None:
                after[place] = old
            else:
                after.pop(place, None)

    def _put_into_service(self, after: Mapping[Path, Known], failures: Mapping[str, Failure]) -> None:
        served = {known.model.name for known in after.values() if known.model is not None}
        earlier = self._registry.not_loaded
        self._registry.not_loaded = {
            name: failures[name].reason if name in failures else earlier.get(name, NOT_LOADED)
            for name in sorted(self._named - served)
        }
        self._known.publish(after, Look())
        self._known.replace(after)
        self._names = {place: name for place, name in self._names.items() if place in after}

    def _look_for(self, names: Sequence[str]) -> Look:
        """Look at the sources once the imports have ended that these names may need."""
        look = self._known.look(is_watching=False)
        places = [(offer.name, offer.place) for offer in self._offers.of(look)]
        for name in names:
            of_it = [place for offered, place in places if offered == name]
            for source in self._known.sources:
                if not of_it or any(place.is_relative_to(source.path) for place in of_it):
                    with contextlib.suppress(OSError):  # the look says so
                        source.bring_up_to_date(name)
        look = self._known.look(is_watching=False)
        gone = self._known.missing_from(look)
        if any(self._names[place] in names for place in gone) and not self._stop.wait(GONE_AFTER):
            look = self._known.look(is_watching=False)
        return look

    def _obstacle(self, name: str, places: Sequence[Path], look: Look) -> Failure | None:
        """Return why a model cannot even be read; None if it can be tried."""
        sources = {source.path for source in self._known.sources}

        def concerns(place: Path) -> bool:
            named = is_place_of(place.as_posix(), name, None) or place.parent.name == name
            return named or any(one.is_relative_to(place) for one in places)

        for place, reason in look.unreadable.items():
            if concerns(place) or (not places and place in sources):
                return Failure(f"{self._known.shown(place)} cannot be read: {reason}", may_pass=True)
        for place, reason in look.refused.items():
            if concerns(place):
                return Failure(f"{self._known.shown(place)} is refused: {reason}", may_pass=False)
        if places:
            return None
        if look.importing:
            return Failure(f"{self._known.shown(min(look.importing))} is still being imported", may_pass=True)
        return Failure("there is no such model; POST /v2/repository/index lists those that there are", may_pass=False)


def _unchanged(known: Known | None, found: FoundBundle) -> Known | None:
    """Return what is known of a bundle if it is served as it is now."""
    if known is None or known.fingerprint != found.fingerprint or known.refusal or known.unavailable:
        return None
    return known if known.model is not None else None


def _check_name(name: str) -> None:
    if not POSSIBLE_NAME.fullmatch(name):
        raise MalformedRequest(f"{printable(name, 64)!r} is no name of a model.")
