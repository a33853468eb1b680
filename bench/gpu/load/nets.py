"""The nets that are served, each with photographs whose labels are known, made when the first row needs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.bundles.untrained import write_resnet50
from bench.gpu.part import Setting
from bench.harness.apart import call_apart
from bench.serving.subjects import Subject, large, small, write_expected

NET, LARGE_NET = "resnet20", "resnet50"


@dataclass(frozen=True)
class ServedNet:
    """A net that is ready to be served."""

    name: str
    bundle: Path
    folder: Path
    """A folder that holds this bundle alone, so that no other is loaded beside it."""
    listing: Path
    """JSON: [[file, expected label], …]."""


def write_behind(folder: str) -> None:
    """Write the large net's bundle in the background: what is measured meanwhile goes before it."""
    os.nice(10)
    write_resnet50(folder)


class ServedNets(AbstractContextManager["ServedNets"]):
    """The nets by name. One that could not be made fails again, at once, for each row that needs it."""

    def __init__(self, setting: Setting, scratch: Path) -> None:
        """Begin to make the large net if it will be needed, because that takes a while."""
        self._setting, self._scratch = setting, scratch
        self._pool = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None
        if not setting.small and not (setting.bundles / LARGE_NET).is_dir():
            self._written = self._pool.submit(call_apart, write_behind, str(scratch / "made"))
        self._made: dict[str, ServedNet | Exception] = {}
        self._subjects: dict[str, Callable[[Path], Subject]] = {NET: self._small, LARGE_NET: self._large}

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def net(self, name: str) -> ServedNet:
        """Return a net.

        Raises:
            Exception: what kept it from being made.
        """
        if name not in self._made:
            try:
                self._made[name] = self._make(name)
            except Exception as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, Exception):
            raise made
        return made

    def _make(self, name: str) -> ServedNet:
        scratch = self._scratch / name
        folder = scratch / "served"
        folder.mkdir(parents=True)
        subject = self._subjects[name](scratch)
        (folder / name).symlink_to(subject.bundle.absolute())
        listing = scratch / "images.json"
        write_expected(subject, listing)
        return ServedNet(name, subject.bundle, folder, listing)

    def _small(self, scratch: Path) -> Subject:
        return replace(small(scratch, 1.0), bundle=self._setting.bundles / NET)

    def _large(self, scratch: Path) -> Subject:
        if self._written is None:
            return large(scratch, 1.0, self._setting.bundles / LARGE_NET)
        self._written.result()
        return large(scratch, 1.0, self._scratch / "made" / LARGE_NET)
