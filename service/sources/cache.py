"""Imported bundles on disk, kept by the content that they were made of.

    <cache>/<key>/<name>/…           one import: a bundle, or the versions of one, as in a folder of bundles
    <cache>/.importing.…/            one that is being written

An entry appears whole, by a rename, so that several processes may use one cache. Entries that nobody has used for
`KEPT_DAYS` are removed when another one is added.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.bundles.disk import BundleRefused, read_bundle
from service.bundles.folder import look_at
from service.output.system_errors import system_reason
from service.settings.reading import names_of_setting

KEPT_DAYS: Final = 30
ABANDONED_AFTER: Final = 86_400.0
"""Seconds after which what is being written is given up: its writer was killed."""
PART: Final = ".importing."


def users_cache(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of imported models: CONTRAFLOW_CACHE, else `contraflow` in the user's folder of caches.

    None where the user has no home.
    """
    if named := environment.get("CONTRAFLOW_CACHE"):
        return Path(named)
    caches = environment.get("XDG_CACHE_HOME", "")
    folder = Path(caches if os.path.isabs(caches) else os.path.expanduser("~/.cache")) / "contraflow"
    return folder if folder.is_absolute() else None


class ImportCache:
    """A folder of imported bundles. Where it cannot be written, a temporary one is used beside it, until the end."""

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        """`say` is told once if a temporary folder is used."""
        self._folders = [] if folder is None else [folder]
        self._temporary: Path | None = None
        self._say = say

    def find(self, key: str) -> tuple[Path, ...]:
        """Return the bundles that are kept under `key`, by version; none if there are none, or one is damaged."""
        for folder in self._folders:
            bundles = _bundles_in(folder / key)
            if not bundles:
                continue
            self.touch(folder / key)
            try:
                for bundle in bundles:
                    read_bundle(bundle)
            except BundleRefused:
                with contextlib.suppress(OSError):
                    _remove(folder / key)
                continue
            return bundles
        return ()

    def touch(self, entry: Path) -> None:
        """Note that an entry is in use."""
        with contextlib.suppress(OSError):  # a cache may be read-only
            os.utime(entry)

    @contextmanager
    def part(self) -> Iterator[Path]:
        """Give an empty folder to import into; it is removed when the block ends, unless it was added.

        Raises:
            OSError: no folder can be written, not even a temporary one.
        """
        part = self._new_part()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def add(self, part: Path, key: str) -> tuple[Path, ...]:
        """Keep the bundles in `part` under `key`, unless another process has done so meanwhile; return them.

        Raises:
            OSError: they cannot be kept.
        """
        entry = part.parent / key
        try:
            os.rename(part, entry)
        except OSError:
            if not _bundles_in(entry):
                raise
        self._prune(part.parent)
        return _bundles_in(entry)

    def _new_part(self) -> Path:
        reason = "this user has no home"
        if self._folders and self._temporary is None:
            try:
                self._folders[0].mkdir(parents=True, exist_ok=True)
                return Path(tempfile.mkdtemp(prefix=PART, dir=self._folders[0]))
            except OSError as error:
                reason = f"{self._folders[0]}: {system_reason(error)}"
        if self._temporary is None:
            self._temporary = _new_temporary(reason)
            atexit.register(shutil.rmtree, self._temporary, ignore_errors=True)
            self._folders.append(self._temporary)
            self._say(f"imports are kept in {self._temporary} until the end; the cache cannot be written: {reason}")
        return Path(tempfile.mkdtemp(prefix=PART, dir=self._temporary))

    def _prune(self, folder: Path) -> None:
        now = time.time()
        for entry in list(folder.iterdir()):
            with contextlib.suppress(OSError):  # another process may have removed it
                age = now - entry.stat().st_mtime
                limit = ABANDONED_AFTER if entry.name.startswith(".") else KEPT_DAYS * 86_400
                if age > limit and (entry.name.startswith(PART) or _bundles_in(entry)):
                    _remove(entry)


def _new_temporary(why: str) -> Path:
    """Make a temporary folder, which is needed because of `why`; raise OSError, in words, if there can be none."""
    try:
        return Path(tempfile.mkdtemp(prefix="contraflow-"))
    except OSError as error:
        needed = f"give it a folder to write to, such as an emptyDir volume, by {names_of_setting('cache')}"
        raise OSError(None, f"there is no place for its bundle ({why}; {system_reason(error)}): {needed}") from error


def _bundles_in(entry: Path) -> tuple[Path, ...]:
    try:
        return tuple(look_at(entry).bundles)
    except OSError:
        return ()


def _remove(entry: Path) -> None:
    """Remove an entry so that nobody finds half of it."""
    away = entry.parent / f"{PART}{entry.name}.{os.getpid()}"
    os.rename(entry, away)
    shutil.rmtree(away, ignore_errors=True)
