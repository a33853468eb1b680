"""The bundles that are known: what is served from each place, and why nothing or an earlier state of it is.

A changed bundle replaces the old one only when its new forward graph is ready. A bundle that is broken is refused,
and its old state stays in service. Where the system did not let a bundle be read, or had no memory for it, its old
state stays in service too; such a bundle is reported apart from the refused ones, and tried again.

The registry is replaced as a whole, so that a request sees either the old state or the new one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.bundles.disk import BundleRefused, BundleUnreadable, read_bundle
from service.bundles.folder import Fingerprint, FoundBundle, Look
from service.bundles.opening import GraphOpener, pause_after
from service.bundles.registry import ONLY_FOLDER, Registry
from service.bundles.served_model import ServedModel
from service.bundles.source import Source
from service.contract.runtime.runs import passing_reason
from service.machine.memory import give_back
from service.output.printable import printable
from service.output.system_errors import system_reason

log = logging.getLogger("contraflow.bundles")

GONE_AFTER = 0.2
"""Seconds between two looks before a bundle that was not found is retired.

Whoever replaces a bundle moves the old folder away and then the new one into its place. Between the two there is none.
"""

IMPORTING = "it is being imported"


@dataclass(frozen=True, slots=True)
class Known:
    """State of one bundle when it was last read, and what came of it."""

    fingerprint: Fingerprint
    model: ServedModel | None
    """Model that is served from its place, perhaps from an earlier state of its files."""
    refusal: str | None = None
    unavailable: str | None = None
    failures: int = 0
    """Failures in a row, for reasons that may pass."""
    retry_at: float | None = None
    """Time of the next attempt, on the monotonic clock; None if there is to be none."""


class KnownBundles:
    """Reads bundles, loads their forward graphs, and puts them into the registry. One thread at a time does so."""

    def __init__(
        self,
        sources: Sequence[Source],
        registry: Registry,
        opener: GraphOpener,
        execution_provider: str,
        stop: threading.Event,
    ) -> None:
        """Once `stop` is set, loading ends after the graph that is being loaded."""
        self.sources = tuple(sources)
        self._only_folder = sources[0].path if len(sources) == 1 and sources[0].is_collection else None
        self._registry = registry
        self._registry.sources = tuple(self.shown(source.path) for source in sources)
        self._opener = opener
        self._execution_provider = execution_provider
        self._stop = stop
        self.by_place: Mapping[Path, Known] = {}
        """Replaced as a whole."""

    def look(self, *, is_watching: bool) -> Look:
        """Look at all sources; one that cannot be looked at hides only its own bundles.

        `is_watching`: what has changed begins to be imported.
        """
        merged = Look()
        for source in self.sources:
            was_found = any(place.is_relative_to(source.path) for place in self.by_place)
            try:
                merged.add(source.look(was_found=was_found, is_watching=is_watching))
            except OSError as error:
                merged.unreadable[source.path] = system_reason(error)
        return merged

    def missing_from(self, look: Look) -> set[Path]:
        """Return the places of known bundles that are certainly no longer there."""
        return {place for place in self.by_place.keys() - look.bundles.keys() if look.reason_unknown(place) is None}

    def read(self, place: Path, found: FoundBundle) -> Known:
        """Read a bundle that is new or changed, or could not be read before."""
        known, fingerprint = self.by_place.get(place), found.fingerprint
        served = known.model if known else None
        try:
            model = ServedModel(read_bundle(found.directory, is_called=found.is_called), self._execution_provider)
        except BundleUnreadable as error:
            return self._put_off(fingerprint, known, str(error))
        except BundleRefused as error:
            return Known(fingerprint, served, refusal=str(error))
        except Exception as error:  # whatever is wrong with it must not keep the others from being served
            if known is None or known.unavailable is None:
                log.exception("bundle %s cannot be read", self.shown(place))
            reason = passing_reason(error) or type(error).__name__
            return self._put_off(fingerprint, known, f"it cannot be read: {reason}")
        if served and served.digest == model.digest:
            return Known(fingerprint, served)  # the files were touched, and say the same
        return Known(fingerprint, model)

    @staticmethod
    def _put_off(fingerprint: Fingerprint, known: Known | None, reason: str) -> Known:
        """Keep serving what was served before, and try again later."""
        failures = (known.failures if known else 0) + 1
        served = known.model if known else None
        return Known(fingerprint, served, None, reason, failures, time.monotonic() + pause_after(failures))

    def load_forward_graphs(self, after: dict[Path, Known]) -> None:
        """Load what is new in `after`; where that fails, put back what was served before."""
        pending = {place: known.model for place, known in after.items() if known.model and not known.model.ready}
        while pending and not self._stop.is_set():
            # Requests may ask for a model meanwhile, so the order is decided anew each time.
            place = min(pending, key=lambda place: self._loading_order(pending[place]))
            model = pending.pop(place)
            graph = model.graphs["forward"]
            self._opener.load_now(model, graph)
            if graph.failure is None:
                continue
            fingerprint, old = after[place].fingerprint, self.by_place.get(place)
            if graph.retry_at is None:
                after[place] = Known(fingerprint, old.model if old else None, refusal=graph.failure)
            else:
                after[place] = self._put_off(fingerprint, old, graph.failure)

    def _loading_order(self, model: ServedModel) -> tuple[bool, bool, bool]:
        """Return the key of sorting: models that requests wait for, the default model, the others, the shadow."""
        is_shadow = model.full_name == self._registry.shadow
        return not model.graphs["forward"].asked_for, is_shadow, not self._registry.is_default(model)

    def publish(self, all_known: Mapping[Path, Known], look: Look) -> None:
        """Put into the registry what is served, refused and unavailable, of `all_known` and besides by `look`."""
        twice = self.twice(all_known)
        refused = {self.shown(place): reason for place, reason in look.refused.items()}
        refused |= {self.shown(place): known.refusal for place, known in all_known.items() if known.refusal is not None}
        refused |= {self.shown(place): reason for place, reason in twice.items()}
        for shown, reason in refused.items():
            if self._registry.refused.get(shown) != reason:
                log.error("%s is refused: %s", self._in_words(shown), reason)
        models = {
            self.shown(place): known.model
            for place, known in all_known.items()
            if known.model is not None and place not in twice
        }
        importing = sorted(self.shown(place) for place in look.importing)
        self._registry.replace(models, refused, self.unavailable(all_known, look), importing)

    def twice(self, all_known: Mapping[Path, Known]) -> dict[Path, str]:
        """Return the places whose model is served from another place, each with what to do about it."""
        first: dict[tuple[str, str], Path] = {}
        found: dict[Path, str] = {}
        for place, known in all_known.items():
            if known.model is None:
                continue
            name, version = key = (known.model.name, known.model.version)
            if first.setdefault(key, place) != place:
                found[place] = (
                    f"{name} version {version} is there twice, first in {self.shown(first[key])}; "
                    "import one anew under another --name"
                )
        return found

    def unavailable(self, all_known: Mapping[Path, Known], look: Look) -> dict[str, str]:
        """Return the places that could not be read or loaded for a reason that may pass, each with the reason."""
        found = {self.shown(place): printable(reason) for place, reason in look.unreadable.items()}
        found.update((self.shown(place), IMPORTING) for place in look.importing)
        for place, known in all_known.items():
            if known.unavailable is not None:
                found.setdefault(self.shown(place), known.unavailable)
        return found

    def log_unavailable(self, found: Mapping[str, str]) -> None:
        """Log what has become unavailable or available since the last time."""
        logged = self._registry.unavailable
        for name, reason in found.items():
            if reason not in (logged.get(name), IMPORTING):
                log.warning("%s is unavailable, and is tried again: %s", self._in_words(name), reason)
        for name, reason in logged.items():
            if name not in found and reason != IMPORTING:
                log.info("%s is available again", self._in_words(name))

    def replace(self, after: Mapping[Path, Known]) -> None:
        """Know `after` from now on, which has been published, and let go of the models that are no longer served.

        Requests in progress keep their sessions until they end.
        """
        before, self.by_place = self.by_place, after
        kept = {id(known.model) for known in after.values()}
        for known in before.values():
            if known.model is not None and id(known.model) not in kept:
                log.info("%s version %s (%s) is retired", known.model.name, known.model.version, known.model.digest)
                known.model.retire()
        gc.collect()
        give_back()

    def shown(self, place: Path) -> str:
        """Return a place as people see it: within the only folder, where `ONLY_FOLDER` is itself, or as a path."""
        within = place if self._only_folder is None else place.relative_to(self._only_folder)
        return printable(within.as_posix())

    def _in_words(self, shown: str) -> str:
        if shown == ONLY_FOLDER:
            return f"the folder {self._only_folder}"
        return shown if shown in self._registry.sources else f"bundle {shown}"
