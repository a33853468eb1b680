"""The kinds of what is at a path: a folder of bundles, one bundle, or something to import."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from service.bundles.folder import LEADS_NOWHERE, look_at, look_at_bundle
from service.contract.bundle_schema import BUNDLE_FILE
from service.output.printable import printable
from service.output.system_errors import system_reason

Kind = Literal["bundles", "bundle", "model"]

DEEPEST: Final = 4
"""Levels of folders in which files of a model are looked for: snapshots/<commit>/onnx/model.onnx in a hub's cache."""
MOST_ENTRIES: Final = 20_000
"""Entries of a folder that are looked at; beyond them it is somebody's home and no model."""
WEIGHTS: Final = frozenset({".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".h5", ".keras", ".pb", ".tflite"})
EXPORT_FIRST: Final = (
    "export the network to ONNX first: torch.onnx.export(network.eval(), (torch.zeros(1, 3, 224, 224),), 'model.onnx')"
)


URL: Final = re.compile(r"[a-z][a-z0-9+]+:/", re.IGNORECASE)
"""Beginning of an address; a path keeps one of its two slashes."""
PACKED: Final = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".xz", ".rar"})


class SourceError(Exception):
    """Nothing can be served from a path; the message says why, in one line for the person who named it."""


def kind_of(path: Path) -> Kind:
    """Return what there is at `path`. A folder without any file is one of bundles: they may be added later.

    Raises:
        SourceError: there is nothing, it cannot be read, or it holds neither bundles nor a model.
    """
    place = printable(os.path.abspath(path))
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            if stat.S_ISREG(status.st_mode):
                return "model"
            raise SourceError(f"{place} is neither a folder nor a plain file")
        one, several = look_at_bundle(path), look_at(path)
    except FileNotFoundError:
        raise SourceError(_nothing_at(path, place)) from None
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"{place} cannot be read: {reason}") from None
    if one.bundles:
        return "bundle"
    if several.bundles:
        return "bundles"
    if (repository := _in_hub_cache(path)) is not None:
        raise SourceError(f"{place} is the cache of a hub: name one of the models in it, such as {place}/{repository}")
    files = list(files_below(path))
    if any(file.suffix.lower() == ".onnx" for file in files):
        return "model"
    if not files and (dangling := _dangling(path)) is not None:
        raise SourceError(f"{printable(str(dangling))}: {LEADS_NOWHERE}")
    if one.unreadable or several.unreadable or not files:
        return "bundle" if one.unreadable else "bundles"
    raise SourceError(_holds_neither(place, files))


def _nothing_at(path: Path, place: str) -> str:
    if URL.match(str(path)):
        return f"{printable(str(path))} is an address: download the model first, and name its file or folder"
    if os.path.islink(path):
        return f"{place}: {LEADS_NOWHERE}"
    return f"there is no file or folder {place}"


def _in_hub_cache(folder: Path) -> str | None:
    """Return the name of a repository of a model in a folder in which a hub's client keeps several, if it is one."""
    return next((printable(name) for name in sorted(os.listdir(folder)) if name.startswith("models--")), None)


def _dangling(folder: Path) -> Path | None:
    """Return a model in a folder whose link leads nowhere, as in a copy of a hub's cache without its blobs."""
    places = (Path(top) / name for top, _, names in os.walk(folder) for name in names if name.lower().endswith(".onnx"))
    return next((place for place in places if place.is_symlink()), None)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the plain files of a model's folder, links followed, but none that is hidden or part of a bundle.

    A folder that cannot be listed is passed over, except `folder` itself.

    Raises:
        OSError: `folder` cannot be listed.
    """
    left = MOST_ENTRIES
    pending = [(folder, 1)]
    while pending:
        place, depth = pending.pop()
        try:
            names = sorted(name for name in os.listdir(place) if not name.startswith("."))
        except OSError:
            if place == folder:
                raise
            continue
        if place != folder and BUNDLE_FILE in names:
            continue
        for name in names:
            left -= 1
            if left < 0:
                return
            entry = place / name
            if entry.is_file():
                yield entry
            elif depth < DEEPEST and entry.is_dir():
                pending.append((entry, depth + 1))


def _holds_neither(place: str, files: list[Path]) -> str:
    shown = ", ".join(printable(file.name, 40) for file in files[:3]) + (", …" if len(files) > 3 else "")
    suffixes = {file.suffix.lower() for file in files}
    advice = f"; {EXPORT_FIRST}" if suffixes & WEIGHTS else "; unpack it first" if suffixes & PACKED else ""
    return f"{place} holds neither a bundle nor an .onnx file, but {shown}{advice}"
