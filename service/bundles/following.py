"""Keeps what is served in step with the sources of bundles, which are looked at again and again."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from service.bundles.folder import Look
from service.bundles.known import GONE_AFTER, Known, KnownBundles
from service.bundles.registry import Registry

log = logging.getLogger("contraflow.bundles")


class Follower:
    """Looks at the sources and brings what it finds into service. Only one thread at a time does so."""

    def __init__(self, known: KnownBundles, registry: Registry, stop: threading.Event, *, is_watching: bool) -> None:
        """Once `stop` is set, a round ends after the graph that is being loaded.

        `is_watching` says that the sources are looked at again and again, for a message only.
        """
        self._known = known
        self._registry = registry
        self._stop = stop
        self._is_watching = is_watching
        self._last_look = Look()
        self._missing_default: str | None = None
        self._round = threading.Lock()

    def retry_times(self) -> list[float]:
        """Return when bundles are to be tried again, on the monotonic clock."""
        return [known.retry_at for known in self._known.by_place.values() if known.retry_at is not None]

    def refresh(self) -> None:
        """Look at all sources once; return when the forward graph of every bundle in them is ready or failed."""
        with self._round:
            look = self._known.look(is_watching=True)
            removed = self._known.missing_from(look)
            if removed and not self._stop.wait(GONE_AFTER):
                look = self._known.look(is_watching=True)
                removed &= self._known.missing_from(look)
            if all(source.path in look.unreadable for source in self._known.sources):
                self._last_look = look
                unavailable = self._known.unavailable(self._known.by_place, look)
                self._known.log_unavailable(unavailable)
                self._registry.report_unavailable(unavailable)
                return
            self._follow(look, removed)

    def _follow(self, look: Look, removed: set[Path]) -> None:
        before, now = self._known.by_place, time.monotonic()
        after: dict[Path, Known] = {}
        for place, found in look.bundles.items():
            known = before.get(place)
            is_due = known is not None and known.retry_at is not None and now >= known.retry_at
            if known is not None and known.fingerprint == found.fingerprint and not is_due:
                after[place] = known
            else:
                after[place] = self._known.read(place, found)
        for place, known in before.items():
            if place not in after and place not in removed:
                after[place] = known
        if after == before and look == self._last_look and self._registry.complete:
            return
        if not self._registry.complete:
            # A service that has just started says at once which models it is loading.
            self._known.publish(after, look)
            names = ", ".join(self._registry.names())
            log.log(logging.INFO if names else logging.WARNING, "models: %s", names or self._none(look))
        self._known.load_forward_graphs(after)
        self._known.log_unavailable(self._known.unavailable(after, look))
        self._known.publish(after, look)
        # Only now: if this round fails, the next one must go through the same changes again.
        self._last_look = look
        self._log_missing_default()
        self._known.replace(after)

    def _none(self, look: Look) -> str:
        """Return where no model is, and what to do about it where nothing is wrong but that a folder is empty."""
        sources = self._known.sources
        where = ", ".join(str(source.path) for source in sources)
        if look.importing:
            return f"none yet in {where}"
        folders = [source.path for source in sources if source.is_collection]
        if look.bundles or look.refused or look.unreadable or not folders:
            return f"none in {where}"
        served = "it is served from then on" if self._is_watching else "it is served from the next start on"
        return f"none in {where}; put a bundle there (contraflow import MODEL --out {folders[0]}), and {served}"

    def _log_missing_default(self) -> None:
        """Log why requests that name no model are refused, if that has changed."""
        missing = self._registry.missing_default()
        if missing is not None and missing != self._missing_default:
            log.error("%s", missing)
        self._missing_default = missing
