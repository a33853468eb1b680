"""A model that is imported, watched, and imported again when it changes: a source of one bundle.

What is served is an entry of the cache. While a change is being imported, and where it is refused, the entry of the
state before stays in service.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service.bundles.folder import FoundBundle, Look
from service.bundles.opening import pause_after
from service.contract.bundle_schema import BUNDLE_FILE
from service.output.system_errors import system_reason
from service.sources.cache import ImportCache
from service.sources.flags import files_among
from service.sources.importing import (
    ImportInterrupted,
    ImportProcess,
    ImportRefused,
    check_importer,
    engine_version,
    name_of,
)
from service.sources.inputs import Inputs, State

log = logging.getLogger("contraflow.bundles")

SETTLED_AFTER: Final = 0.5
"""Seconds in which no file may change before an import begins, because a file that is being copied is half a file."""
LONG_AGO: Final = 2.0
"""Seconds after which a file that was last changed then is taken for settled at the first look."""
TOUCHED_EVERY: Final = 3600.0
"""Seconds between two notes in the cache that an entry is in use."""


class ImportedModel:
    """One path that is imported."""

    is_collection = False

    def __init__(self, path: Path, flags: Sequence[str], cache: ImportCache, process: ImportProcess) -> None:
        """`flags` are those of the import.

        Raises:
            SourceError: models cannot be imported here.
        """
        check_importer(path)
        self.path = path
        self._flags = tuple(flags)
        self._inputs = Inputs(path, files_among(flags))
        self._cache = cache
        self._process = process
        self._thread: threading.Thread | None = None
        self._seen: tuple[State, float] | None = None
        """State of the files at the last look, and since when it has been that, on the monotonic clock."""
        self._finished: State | None = None
        """State whose import has ended, well or in a refusal."""
        self._failures = 0
        """Imports in a row that were ended from outside."""
        self._retry_at = 0.0
        self._touched_at = 0.0
        self.bundle: Path | None = None
        """Folder of the bundle that was imported last."""
        self.refusal: str | None = None
        """Why the present state of the files is refused."""
        self.interruption: str | None = None
        """Why the present state of the files could not be imported, for a reason that may pass."""

    def bring_up(self) -> None:
        """Import the present state, or find it in the cache; return when `bundle`, `refusal` or `interruption` says so.

        Raises:
            OSError: a file cannot be read.
        """
        began = time.monotonic()
        while self._finished is None and self.interruption is None:
            state = self._inputs.state()
            changed = max(mark[3] for mark in state) / 1e9
            if self._is_settled(state) or abs(time.time() - changed) > LONG_AGO:
                self._import(state)
                continue
            if time.monotonic() - began > LONG_AGO:
                log.info("%s: waiting until its files no longer change", self.path)
                began = time.monotonic()
            time.sleep(SETTLED_AFTER)

    def look(self, *, was_found: bool) -> Look:
        """Return the bundle that was imported last; begin an import in the background where the files have changed."""
        state = self._inputs.state()
        if self.bundle is not None and not (self.bundle / BUNDLE_FILE).exists():
            self._finished = None  # somebody has emptied the cache
        is_new = state != self._finished
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
        if self._thread is None and self._is_settled(state) and is_new and time.monotonic() >= self._retry_at:
            self._thread = threading.Thread(
                target=self._import_in_background, args=(state,), name="import", daemon=True
            )
            self._thread.start()
        look = Look()
        if self.bundle is not None:
            self._note_use(self.bundle)
            look.bundles[self.path] = FoundBundle(
                self.bundle, ((str(self.bundle), 0, 0, 0, 0),)
            )  # an entry never changes
        if self.refusal is not None:
            look.refused[self.path] = self.refusal
        if self.interruption is not None:
            look.unreadable[self.path] = self.interruption
        return look

    def stop(self) -> None:
        """End an import that is going on."""
        self._process.stop()
        if self._thread is not None:
            self._thread.join()

    def _is_settled(self, state: State) -> bool:
        now = time.monotonic()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, now)
        return now - self._seen[1] >= SETTLED_AFTER

    def _import_in_background(self, state: State) -> None:
        try:
            self._import(state)
        except Exception as error:  # the thread must not end without a word, nor try again at once
            reason = system_reason(error) if isinstance(error, OSError) else type(error).__name__
            log.exception("%s cannot be imported", self.path)
            self._put_off(f"it cannot be imported: {reason}")
        if self.refusal is not None and self._finished == state:
            stays = "; the state before stays in service" if self.bundle is not None else ""
            log.error("%s is refused: %s%s", self.path, self.refusal, stays)

    def _import(self, state: State) -> None:
        """Import the files, or find them in the cache; if they change meanwhile, nothing has happened."""
        try:
            bundle = self._cache.find(self._key(state)) or self._imported(state)
        except ImportRefused as error:
            if self._inputs.state() == state:
                self.refusal, self.interruption, self._finished = str(error), None, state
            return
        except ImportInterrupted as error:
            self._put_off(str(error))
            return
        if bundle is not None:
            self.bundle, self.refusal, self.interruption = bundle, None, None
            self._finished, self._failures = state, 0

    def _imported(self, state: State) -> Path | None:
        """Run the import and keep what it makes; return None if the files have changed meanwhile."""
        key = self._key(state)
        with self._cache.part() as part:
            self._process.run(self.path, self._flags, part)
            return self._cache.add(part, key) if self._inputs.state() == state else None

    def _key(self, state: State) -> str:
        parts = (engine_version(), name_of(self.path), self.path.name, *self._flags, self._inputs.digest(state))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]

    def _put_off(self, reason: str) -> None:
        self._failures += 1
        self._retry_at = time.monotonic() + pause_after(self._failures)
        self.interruption = reason

    def _note_use(self, bundle: Path) -> None:
        if time.monotonic() - self._touched_at > TOUCHED_EVERY:
            self._touched_at = time.monotonic()
            self._cache.touch(bundle)
