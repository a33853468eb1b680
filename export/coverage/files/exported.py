"""ONNX files of the listed architectures, kept in a cache folder, because exporting costs more than all the rest."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from export.coverage.architectures.architecture import Architecture, build, images
from export.coverage.children import Died, OutOfTime, Raised, in_child
from export.coverage.files.exporters import EXPORTERS
from export.coverage.rivals import RIVALS

DISTRIBUTIONS = {"vit_pytorch": "vit-pytorch"}
EXPORT_WITHIN = 600.0
"""Seconds."""
EXAMPLES = 2
"""Images of the batch that an exporter is given."""
LOCAL = re.compile(r"\x1b\[[0-9;]*m|\S*/site-packages/")
"""Colours and the machine's own folders, of which torch's exporters speak."""


class NotExported(Exception):
    """torch's exporter refused the network, in its own words."""


@dataclass(frozen=True)
class Exports:
    """The cache: one file, or one refusal, for each architecture, exporter and set of versions."""

    folder: Path

    def file(self, architecture: Architecture, exporter: str, again: bool = False) -> Path:
        """Return the file, exporting it where it is not there.

        Args:
            again: export once more what was refused.

        Raises:
            NotExported: the exporter refused, now or the last time.
        """
        path = self.path(architecture, exporter)
        refusal = path.with_suffix(".refused")
        if refusal.exists() and not again:
            raise NotExported(refusal.read_text(encoding="utf-8"))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                in_child(_export, architecture.key, exporter, path, seconds=EXPORT_WITHIN)
            except (OutOfTime, Died, Raised) as error:
                said = LOCAL.sub("", str(error))
                refusal.write_text(said, encoding="utf-8")
                raise NotExported(said) from error
            refusal.unlink(missing_ok=True)
        return path

    def kept(self, path: Path, make: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return what is kept beside a file about it, made where it is not there."""
        versions = "-".join(version(name) for name in RIVALS)
        beside = path.with_suffix(f".rivals-{versions}.json")
        if not beside.exists():
            beside.write_text(json.dumps(make()), encoding="utf-8")
        found: dict[str, str] = json.loads(beside.read_text(encoding="utf-8"))
        return found

    def path(self, architecture: Architecture, exporter: str) -> Path:
        package = DISTRIBUTIONS.get(architecture.package, architecture.package)
        versions = f"torch-{torch.__version__}/{package}-{version(package)}"
        return (
            self.folder
            / versions
            / f"{architecture.name}-{exporter.replace(', ', '-').replace(' ', '')}-{architecture.fingerprint}.onnx"
        )


def default_folder() -> Path:
    """Return the user's cache folder by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "contraflow/coverage"


def _export(key: str, exporter: str, path: Path) -> None:
    from export.coverage.architectures.listed import ARCHITECTURES

    architecture = ARCHITECTURES[key]
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        EXPORTERS[exporter](build(architecture), images(architecture, EXAMPLES), partial)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
