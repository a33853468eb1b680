"""A model that is imported, watched, and imported again when it changes: a source of one bundle.

What is served is an entry of the cache. While a change is being imported, and where it is refused, the entry of the
state before stays in service.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
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
)
from service.sources.inputs import Inputs, State

log = logging.getLogger("contraflow.bundles")

SETTLED_AFTER: Final = 0.5
"""Seconds in which no file may change before an import begins, because a file that is being copied is half a file."""
LONG_AGO: Final = 2.0
"""Seconds after which a file that was last changed then is taken for settled at the first look."""
NAMING_PARTS: Final = 3
"""Last names of a path that a model may be called by: models--owner--name/snapshots/<commit>, name/onnx."""
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
        self._is_idle = threading.Event()  # not Thread.join: one that Ctrl-C interrupts takes the thread for ended
        self._is_idle.set()
        self._seen: tuple[State, float] | None = None
        """State of the files at the last look, and since when it has been that, on the monotonic clock."""
        self._finished: State | None = None
        """State whose import has ended, well or in a refusal."""
        self._failures = 0
        """Imports in a row that were ended from outside."""
        self._retry_at = 0.0
        self._touched_at = 0.0
        self._entry: Path | None = None
        """Folder of the cache that `bundles` lie in."""
        self._name: str | None = None
        self.bundles: tuple[Path, ...] = ()
        """Folders of what was imported last: one bundle, or the versions of one, the lowest first."""
        self.refusal: str | None = None
        """Why the present state of the files is refused."""
        self.interruption: str | None = None
        """Why the present state of the files could not be imported, for a reason that may pass."""

    @property
    def failure(self) -> str | None:
        """Why the present state of the files is not served; None if it is, or is being imported."""
        return self.refusal or self.interruption

    def begin(self) -> None:
        """Begin to import the present state in the background, or to find it in the cache."""
        self._work_on(self._import_settled)

    def wait(self, seconds: float | None = None) -> None:
        """Return when `bundles`, `refusal` or `interruption` says how the import ended, or after so many seconds."""
        self._is_idle.wait(seconds)

    def bring_up_to_date(self, name: str) -> None:
        """Import the files as they are now, if they make the model of that name or nobody knows yet what they make."""
        self.wait()
        if self._name in (None, name) and self._is_new(self._inputs.state()):
            self._finished, self.interruption = None, None
            self.begin()
            self.wait()

    def look(self, *, was_found: bool, is_watching: bool = True) -> Look:
        """Return the bundle that was imported last; begin an import in the background where the files have changed."""
        state = self._inputs.state()
        may_begin = is_watching and self._is_idle.is_set() and time.monotonic() >= self._retry_at
        if self._is_settled(state) and self._is_new(state) and may_begin:
            self._work_on(lambda: self._import(state))
        look = Look()
        self._note_use()
        for bundle in self.bundles:
            unchanging = ((str(bundle), 0, 0, 0, 0),)  # an entry of the cache is written once
            place = self.path if len(self.bundles) == 1 else self.path / bundle.name
            look.bundles[place] = FoundBundle(bundle, unchanging)
        if self.refusal is not None:
            look.refused[self.path] = self.refusal
        elif not self.bundles and self.interruption is None:
            look.importing.add(self.path)
        if self.interruption is not None:
            look.unreadable[self.path] = self.interruption
        return look

    def stop(self) -> None:
        """End an import that is going on."""
        self._process.stop()
        self._is_idle.wait()

    def _is_new(self, state: State) -> bool:
        """Return whether this state was never imported, or somebody has emptied the cache."""
        is_whole = self.refusal is not None or all((bundle / BUNDLE_FILE).exists() for bundle in self.bundles)
        return state != self._finished or not is_whole

    def _is_settled(self, state: State) -> bool:
        now = time.monotonic()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, now)
        return now - self._seen[1] >= SETTLED_AFTER

    def _work_on(self, task: Callable[[], None]) -> None:
        self._is_idle.clear()
        threading.Thread(target=self._work, args=(task,), name="import", daemon=True).start()

    def _work(self, task: Callable[[], None]) -> None:
        """Run a task in a thread, which must not end without a word."""
        try:
            task()
        except OSError as error:
            self._put_off(f"it cannot be imported: {system_reason(error)}")
        except Exception as error:
            log.exception("%s cannot be imported", self.path)
            self._put_off(f"it cannot be imported: {type(error).__name__}")
        finally:
            self._is_idle.set()

    def _import_settled(self) -> None:
        """Import the files as soon as they no longer change."""
        while self._finished is None and self.interruption is None and not self._process.is_stopped:
            state = self._inputs.state()
            changed = max(mark[3] for mark in state) / 1e9
            if self._is_settled(state) or abs(time.time() - changed) > LONG_AGO:
                self._import(state)
                continue
            time.sleep(SETTLED_AFTER)

    def _import(self, state: State) -> None:
        """Import the files, or find them in the cache; if they change meanwhile, nothing has happened."""
        try:
            key = self._key(state)
            bundles = self._cache.find(key) or self._imported(state, key)
        except ImportRefused as error:
            if self._inputs.state() == state:
                self.refusal, self.interruption, self._finished = str(error), None, state
            return
        except ImportInterrupted as error:
            self._put_off(str(error))
            return
        if bundles:
            self._entry = next(folder for folder in bundles[0].parents if folder.name == key)
            self._tell_name(bundles[0].relative_to(self._entry).parts[0])
            self.bundles, self.refusal, self.interruption = bundles, None, None
            self._finished, self._failures = state, 0

    def _tell_name(self, name: str) -> None:
        if name != self._name:
            log.info("%s is called %s", self.path, name)
        self._name = name

    def _imported(self, state: State, key: str) -> tuple[Path, ...]:
        """Run the import and keep what it makes; return nothing if the files have changed meanwhile."""
        with self._cache.part() as part:
            self._process.run(self.path, self._flags, part)
            return self._cache.add(part, key) if self._inputs.state() == state else ()

    def _key(self, state: State) -> str:
        names = Path(os.path.abspath(self.path)).parts[-NAMING_PARTS:]
        parts = (engine_version(), *names, "", *self._flags, "", self._inputs.digest(state))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]

    def _put_off(self, reason: str) -> None:
        self._failures += 1
        self._retry_at = time.monotonic() + pause_after(self._failures)
        self.interruption = reason

    def _note_use(self) -> None:
        if self._entry is not None and time.monotonic() - self._touched_at > TOUCHED_EVERY:
            self._touched_at = time.monotonic()
            self._cache.touch(self._entry)
