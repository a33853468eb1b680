"""Sources of bundles: the interface of each, and a folder, of bundles or of one bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from service.bundles.folder import Look, look_at, look_at_bundle

ANOTHER_DEVICE = "another file system without a bundle is there now, as after an unmount"


class Source(Protocol):
    """One path that bundles come from, looked at again and again."""

    @property
    def path(self) -> Path:
        """The path as its user wrote it; all places that a look finds are at it or below it."""

    @property
    def is_collection(self) -> bool:
        """True if it holds bundles by their names, so that people need only see the part below `path`."""

    def look(self, *, was_found: bool, is_watching: bool = True) -> Look:
        """Find what is there now. `was_found` is true if an earlier look found a bundle that is still known.

        `is_watching`: what has changed begins to be imported in the background.

        Raises:
            OSError: it cannot be looked at.
        """

    def bring_up_to_date(self, name: str) -> None:
        """Return when the model of that name has been imported as it is now, if it may be one that is imported.

        Raises:
            OSError: it cannot be looked at.
        """

    def stop(self) -> None:
        """End what works in the background."""


class FolderSource:
    """A folder of bundles, or the folder of one bundle or of its versions."""

    def __init__(self, path: Path, *, is_collection: bool = True) -> None:
        self.path = path
        self.is_collection = is_collection
        self._device: int | None = None
        """Number of the file system that the folder is on."""

    def look(self, *, was_found: bool, is_watching: bool = True) -> Look:
        device = os.stat(self.path).st_dev
        look = look_at(self.path) if self.is_collection else look_at_bundle(self.path)
        if was_found and not look.bundles and device != self._device:
            raise OSError(None, ANOTHER_DEVICE)
        self._device = device
        return look

    def bring_up_to_date(self, name: str) -> None:
        """Nothing is imported."""

    def stop(self) -> None:
        """Nothing works in the background."""
