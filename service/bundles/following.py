"""Keeps the registry of served models in step with the sources of bundles.

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.bundles.disk import BundleRefused, BundleUnreadable, read_bundle
from service.bundles.folder import Fingerprint, FoundBundle, Look
from service.bundles.opening import GraphOpener, pause_after
from service.bundles.registry import ONLY_FOLDER, Registry
from service.bundles.served_model import ServedModel
from service.bundles.source import Source
from service.contract.runtime import passing_reason
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
class _Known:
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


class Follower:
    """Looks at the sources and brings what it finds into service. Only one thread at a time does so."""

    def __init__(
        self,
        sources: Sequence[Source],
        registry: Registry,
        opener: GraphOpener,
        execution_provider: str,
        stop: threading.Event,
    ) -> None:
        """Once `stop` is set, a round ends after the graph that is being loaded."""
        self._sources = tuple(sources)
        self._only_folder = sources[0].path if len(sources) == 1 and sources[0].is_collection else None
        self._registry = registry
        self._registry.sources = tuple(self._shown(source.path) for source in sources)
        self._opener = opener
        self._execution_provider = execution_provider
        self._stop = stop
        self._known: dict[Path, _Known] = {}
        self._last_look = Look()
        self._missing_default: str | None = None
        self._round = threading.Lock()

    def retry_times(self) -> list[float]:
        """Return when bundles are to be tried again, on the monotonic clock."""
        return [known.retry_at for known in self._known.values() if known.retry_at is not None]

    def stop(self) -> None:
        for source in self._sources:
            source.stop()

    def refresh(self) -> None:
        """Look at all sources once; return when the forward graph of every bundle in them is ready or failed."""
        with self._round:
            look = self._look()
            removed = self._missing_from(look)
            if removed and not self._stop.wait(GONE_AFTER):
                look = self._look()
                removed &= self._missing_from(look)
            if all(source.path in look.unreadable for source in self._sources):
                self._last_look = look
                unavailable = self._unavailable(self._known, look)
                self._log_unavailable(unavailable)
                self._registry.report_unavailable(unavailable)
                return
            self._follow(look, removed)

    def _look(self) -> Look:
        """Look at all sources; one that cannot be looked at hides only its own bundles."""
        merged = Look()
        for source in self._sources:
            was_found = any(place.is_relative_to(source.path) for place in self._known)
            try:
                merged.add(source.look(was_found=was_found))
            except OSError as error:
                merged.unreadable[source.path] = system_reason(error)
        return merged

    def _missing_from(self, look: Look) -> set[Path]:
        """Return the places of known bundles that are certainly no longer there."""
        return {place for place in self._known.keys() - look.bundles.keys() if look.reason_unknown(place) is None}

    def _follow(self, look: Look, removed: set[Path]) -> None:
        before, now = self._known, time.monotonic()
        after: dict[Path, _Known] = {}
        for place, found in look.bundles.items():
            known = before.get(place)
            is_due = known is not None and known.retry_at is not None and now >= known.retry_at
            if known is not None and known.fingerprint == found.fingerprint and not is_due:
                after[place] = known
            else:
                after[place] = self._read(place, found, known)
        for place, known in before.items():
            if place not in after and place not in removed:
                after[place] = known
        if after == before and look == self._last_look and self._registry.complete:
            return
        if not self._registry.complete:
            # A service that has just started says at once which models it is loading.
            self._publish(after, look)
            names = ", ".join(self._registry.names())
            where = "none yet in " if look.importing else "none in "
            none = where + ", ".join(str(source.path) for source in self._sources)
            log.log(logging.INFO if names else logging.WARNING, "models: %s", names or none)
        self._load_forward_graphs(before, after)
        self._log_unavailable(self._unavailable(after, look))
        self._publish(after, look)
        # Only now: if this round fails, the next one must go through the same changes again.
        self._known, self._last_look = after, look
        self._log_missing_default()
        self._retire(before)

    def _read(self, place: Path, found: FoundBundle, known: _Known | None) -> _Known:
        """Read a bundle that is new or changed, or could not be read before."""
        served, fingerprint = known.model if known else None, found.fingerprint
        try:
            model = ServedModel(read_bundle(found.directory, is_called=found.is_called), self._execution_provider)
        except BundleUnreadable as error:
            return self._put_off(fingerprint, known, str(error))
        except BundleRefused as error:
            return _Known(fingerprint, served, refusal=str(error))
        except Exception as error:  # whatever is wrong with it must not keep the others from being served
            if known is None or known.unavailable is None:
                log.exception("bundle %s cannot be read", self._shown(place))
            reason = passing_reason(error) or type(error).__name__
            return self._put_off(fingerprint, known, f"it cannot be read: {reason}")
        if served and served.digest == model.digest:
            return _Known(fingerprint, served)  # the files were touched, and say the same
        return _Known(fingerprint, model)

    @staticmethod
    def _put_off(fingerprint: Fingerprint, known: _Known | None, reason: str) -> _Known:
        """Keep serving what was served before, and try again later."""
        failures = (known.failures if known else 0) + 1
        served = known.model if known else None
        return _Known(fingerprint, served, None, reason, failures, time.monotonic() + pause_after(failures))

    def _load_forward_graphs(self, before: dict[Path, _Known], after: dict[Path, _Known]) -> None:
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
            fingerprint, old = after[place].fingerprint, before.get(place)
            if graph.retry_at is None:
                after[place] = _Known(fingerprint, old.model if old else None, refusal=graph.failure)
            else:
                after[place] = self._put_off(fingerprint, old, graph.failure)

    def _loading_order(self, model: ServedModel) -> tuple[bool, bool]:
        """Return the key of sorting: models that requests wait for, then the default model, then the others."""
        return not model.graphs["forward"].asked_for, not self._registry.is_default(model)

    def _publish(self, all_known: dict[Path, _Known], look: Look) -> None:
        models: dict[tuple[str, str], ServedModel] = {}
        refused = {self._shown(place): reason for place, reason in look.refused.items()}
        for place, known in all_known.items():
            if known.refusal is not None:
                refused[self._shown(place)] = known.refusal
            if known.model is None:
                continue
            key = (known.model.name, known.model.version)
            if key in models:
                refused[self._shown(place)] = f"{key[0]} version {key[1]} is there twice"
            else:
                models[key] = known.model
        for shown, reason in refused.items():
            if self._registry.refused.get(shown) != reason:
                log.error("%s is refused: %s", self._in_words(shown), reason)
        importing = sorted(self._shown(place) for place in look.importing)
        self._registry.replace(models.values(), refused, self._unavailable(all_known, look), importing)

    def _unavailable(self, all_known: dict[Path, _Known], look: Look) -> dict[str, str]:
        """Return the places that could not be read or loaded for a reason that may pass, each with the reason."""
        found = {self._shown(place): printable(reason) for place, reason in look.unreadable.items()}
        found.update((self._shown(place), IMPORTING) for place in look.importing)
        for place, known in all_known.items():
            if known.unavailable is not None:
                found.setdefault(self._shown(place), known.unavailable)
        return found

    def _log_unavailable(self, found: dict[str, str]) -> None:
        """Log what has become unavailable or available since the last time."""
        logged = self._registry.unavailable
        for name, reason in found.items():
            if reason not in (logged.get(name), IMPORTING):
                log.warning("%s is unavailable, and is tried again: %s", self._in_words(name), reason)
        for name, reason in logged.items():
            if name not in found and reason != IMPORTING:
                log.info("%s is available again", self._in_words(name))

    def _log_missing_default(self) -> None:
        """Log why requests that name no model are refused, if that has changed."""
        missing = self._registry.missing_default()
        if missing is not None and missing != self._missing_default:
            log.error("%s", missing)
        self._missing_default = missing

    def _retire(self, before: dict[Path, _Known]) -> None:
        """Let go of the models that are no longer served; requests in progress keep their sessions until they end."""
        kept = {id(known.model) for known in self._known.values()}
        for known in before.values():
            if known.model is not None and id(known.model) not in kept:
                log.info("%s version %s (%s) is retired", known.model.name, known.model.version, known.model.digest)
                known.model.retire()
        gc.collect()
        give_back()

    def _shown(self, place: Path) -> str:
        """Return a place as people see it: within the only folder, where `ONLY_FOLDER` is itself, or as a path."""
        within = place if self._only_folder is None else place.relative_to(self._only_folder)
        return printable(within.as_posix())

    def _in_words(self, shown: str) -> str:
        if shown == ONLY_FOLDER:
            return f"the folder {self._only_folder}"
        return shown if shown in self._registry.sources else f"bundle {shown}"
