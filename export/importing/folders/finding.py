"""Which ONNX file a path means: the file itself, or the one in a model folder.

<folder>/model.onnx, inference.onnx, or the only .onnx file
<folder>/onnx/model.onnx                      optimum; the config lies in <folder>
<cache>/snapshots/<commit>/…                  the cache of the Hugging Face hub, or one snapshot of it
<model>/config.pbtxt, <model>/<version>/…     Triton, or a repository of one model
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.triton import CONFIG, triton_model
from service.contract.bundle_schema import BUNDLE_FILE
from service.contract.model_names import fit_name, name_of

USUAL = ("model.onnx", "inference.onnx")
INNER = "onnx"
SHOWN = 8
DEEPEST = 4
"""Levels of folders in which models are looked for, to name them in a message."""


@dataclass(frozen=True)
class FoundModel:
    """One ONNX file, and the folder whose files speak for it (None: it stands alone)."""

    file: Path
    folder: Path | None
    name: str
    version: str | None = None
    notes: tuple[str, ...] = field(default=())


def find_models(path: Path, file: str | None = None) -> list[FoundModel]:
    """Find the model that `path` means, in each of its versions; `file` names one of several files of a folder.

    Raises OptionMismatch where there is none, or several and none is usual.
    """
    if not path.is_dir():
        if file is not None:
            raise OptionMismatch(f"--file {file}: {path} is no folder")
        return [FoundModel(path, None, name_of(path))]
    folder = _snapshot(path)
    if (folder / BUNDLE_FILE).is_file():
        raise OptionMismatch(f"{folder}: a bundle already; it is served as it is")
    name = name_of(path)
    if file is not None:
        return [FoundModel(_named(folder, file), folder, name)]
    triton = triton_model(_only_model_of_repository(folder))
    if triton is not None:
        name = fit_name(triton.name) or name_of(triton.folder)
        return [FoundModel(found, triton.folder, name, str(number)) for number, found in triton.versions.items()]
    return [_usual(folder, name)]


def speaking_folder(file: Path) -> Path:
    """Return the folder whose files would speak for `file`, if the folder were named instead of it."""
    return file.parent.parent if file.parent.name == INNER else file.parent


def _snapshot(folder: Path) -> Path:
    """Return the snapshot that a folder of the hub's cache refers to; any other folder as it is."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    reference = folder / "refs" / "main"
    if reference.is_file() and (snapshots / reference.read_text().strip()).is_dir():
        return snapshots / reference.read_text().strip()
    inside = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(inside) != 1:
        raise OptionMismatch(f"{folder}: it holds {len(inside)} snapshots; name the folder of one of them")
    return inside[0]


def _named(folder: Path, file: str) -> Path:
    found = folder / file
    if not found.is_file():
        raise OptionMismatch(f"--file {file}: no such file in {folder}{_inside(folder)}")
    return found


def _only_model_of_repository(folder: Path) -> Path:
    """Return the one model of a Triton repository; the folder itself where it is none."""
    if (folder / CONFIG).is_file() or list(folder.glob("*.onnx")):
        return folder
    models = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if len(models) > 1:
        shown = ", ".join(path.name for path in models[:SHOWN])
        raise OptionMismatch(f"{folder}: a repository of {len(models)} models; name the folder of one ({shown})")
    return models[0] if models else folder


def _usual(folder: Path, name: str) -> FoundModel:
    spoken = folder.parent if folder.name == INNER else folder
    for place in (folder, folder / INNER):
        files = sorted(place.glob("*.onnx"))
        usual = next((place / file for file in USUAL if (place / file) in files), None)
        chosen = usual or (files[0] if len(files) == 1 else None)
        if chosen is not None:
            others = [str(other.relative_to(folder)) for other in _all(folder) if other != chosen]
            note = f"of several files {chosen.relative_to(folder)} was taken; --file names another: {_list(others)}"
            return FoundModel(chosen, spoken, name, notes=(note,) if others else ())
        if files:
            listed = _list([str(file.relative_to(folder)) for file in files])
            choice = f"name the files themselves, or name one with --file: {listed}"
            raise OptionMismatch(f"{folder}: it holds several models; {choice}")
    raise OptionMismatch(f"{folder}: there is no .onnx file in it, nor in {INNER}/{_below(folder)}")


def _all(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.onnx"), *(folder / INNER).glob("*.onnx")])


def _below(folder: Path) -> str:
    """Return what to name where models lie deeper than a model folder has them."""
    levels = (folder.glob("/".join(["*"] * depth + ["*.onnx"])) for depth in range(1, DEEPEST + 1))
    found = sorted(str(file.relative_to(folder)) for file in islice(chain.from_iterable(levels), SHOWN + 1))
    if found:
        return f"; name one of those below it: {_list(found)}"
    held = sorted(path.name for path in islice(folder.iterdir(), SHOWN + 1))
    return f"; it holds {_list(held)}" if held else "; it is empty"


def _inside(folder: Path) -> str:
    found = _list([str(file.relative_to(folder)) for file in _all(folder)])
    return f"; it holds {found}" if found else ""


def _list(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
