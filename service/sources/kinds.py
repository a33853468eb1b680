"""The kinds of what is at a path: a folder of bundles, one bundle, or something to import."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from service.bundles.folder import look_at, look_at_bundle
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
        raise SourceError(f"there is no file or folder {place}") from None
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"{place} cannot be read: {reason}") from None
    if one.bundles:
        return "bundle"
    if several.bundles:
        return "bundles"
    files = list(files_below(path))
    if any(file.suffix.lower() == ".onnx" for file in files):
        return "model"
    if one.unreadable or several.unreadable or not files:
        return "bundle" if one.unreadable else "bundles"
    raise SourceError(_holds_neither(place, files))


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
    advice = f"; {EXPORT_FIRST}" if any(file.suffix.lower() in WEIGHTS for file in files) else ""
    return f"{place} holds neither a bundle nor an .onnx file, but {shown}{advice}"
