"""From flags, folder and file to the options of an import, each with its source.

Precedence: flags, then the preset, then the folder's files, then the ONNX file's own metadata. Nothing is guessed:
mean, std and an open size that nobody states are asked for, all in one message. Where the resize is not stated, the
picture is stretched to the network's size, and the answer says that this is the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ImportOptions
from export.importing.flags.presets import offered
from export.importing.folders.finding import FoundModel, speaking_folder
from export.importing.folders.speaking import said_by_file, said_by_folder, speaks
from export.importing.folders.stated import FileFacts, Said, Stated, Statements

GEOMETRY = ("resize", "crop_fraction", "resize_side", "resize_rounding", "crop_rounding", "fill")
"""Fields that belong together: they are taken from one source only, the first that states `resize_side`."""
NORMALIZATION = ("mean", "std", "scale")
DEFAULT = "the default"
FLAGS = {"antialias": "no-antialias", "labels_are": "labels-are", "resize_side": "resize"}
"""Field of `ImportOptions` → the flag that states it, where that is called otherwise."""


@dataclass(frozen=True)
class Resolved:
    """Options for `import_classifier`, the source of each, and notes of the readers."""

    options: ImportOptions
    sources: Mapping[str, str]
    notes: tuple[str, ...]


def resolve(found: FoundModel, facts: FileFacts, flags: Statements) -> Resolved:
    """Settle the options for a model.

    Raises OptionMismatch where something is missing, which it names with all the flags that say it, or where the
    folder contradicts the file.
    """
    told = frozenset(flags)
    folder = said_by_folder(found.folder, facts, told) if found.folder else Said()
    file = said_by_file(facts, told) if not facts.integers else Said()
    settled = merged([flags, folder.statements, file.statements])
    _check_size(settled, facts, told)
    if facts.integers:
        settled |= _pixels_as_they_are(settled)
    if missing := _missing(settled, facts):
        raise OptionMismatch(_question(found, missing, asks_for_pixels="mean" not in settled or "std" not in settled))
    known = {field.name for field in fields(ImportOptions)}
    values = {name: stated.value for name, stated in settled.items() if name in known}
    if facts.size is not None:
        values.pop("size", None)  # it is the file's own
    if "labels" in settled:
        values["labels_source"] = settled["labels"].source
    return Resolved(
        ImportOptions(**{"labels": None, **values}),
        {name: stated.source for name, stated in settled.items()},
        (*found.notes, *folder.notes, *file.notes),
    )


def merged(sources: Iterable[Statements]) -> Statements:
    """Return for each field what the first source states; fields that belong together come from one source."""
    settled: Statements = {}
    for statements in sources:
        new = {name: stated for name, stated in statements.items() if name not in settled}
        if "resize_side" in settled:
            new = {name: stated for name, stated in new.items() if name not in GEOMETRY}
        if "mean" in settled and "std" in settled:
            new.pop("scale", None)
        settled |= new
    return settled


def _pixels_as_they_are(settled: Statements) -> Statements:
    """State mean 0 and std 1 for a file that takes whole numbers, unless flags say otherwise."""
    source = "the file takes pixels of 0…255 as whole numbers"
    plain = {"mean": (0.0,), "std": (1.0,), "scale": 255.0}
    flags = {name for name in NORMALIZATION if name in settled and settled[name].source.startswith("--")}
    return {name: Stated(value, source) for name, value in plain.items() if name not in flags}


def _check_size(settled: Statements, facts: FileFacts, told: frozenset[str]) -> None:
    """Raise OptionMismatch where the folder states another size than the file is fixed to, and no flag decides."""
    stated = settled.get("size")
    if stated is None or facts.size is None or stated.value == facts.size:
        return
    height, width = facts.size
    asked = f"{stated.value[0]} x {stated.value[1]}"
    if "size" in told:
        raise OptionMismatch(f"--size says {asked} where the model is fixed to {height} x {width}")
    raise OptionMismatch(
        f"{stated.source} states pictures of {asked}, but {facts.path.name} is fixed to {height} x {width}; "
        f"if it was exported so on purpose, say --size {height},{width}"
    )


def _missing(settled: Statements, facts: FileFacts) -> list[str]:
    missing = [f"--{name}" for name in ("mean", "std") if name not in settled]
    size_is_open = facts.image is not None and facts.size is None
    if size_is_open and "size" not in settled and "crop" not in settled:
        missing.append("--size HEIGHT,WIDTH (the model takes images of any size)")
    return missing


def _question(found: FoundModel, missing: list[str], *, asks_for_pixels: bool) -> str:
    """Return the one message: what is missing, and the ways to say it."""
    where = found.folder or found.file
    words = f"{where}: nothing in it says {', '.join(missing)}"
    beside = speaks(speaking_folder(found.file)) if found.folder is None else []
    if beside:
        words += f". The folder around it has {', '.join(beside)}: name {speaking_folder(found.file)} instead"
    if not asks_for_pixels:
        return f"{words}. Say it"
    return (
        f"{words}. Say them, or choose --preprocessing: {offered()}. For pixels of 0…255 as they are, "
        "say --mean 0 --std 1 --scale 255"
    )


def flag_statements(
    given: Mapping[str, Any], preset: str | None, preset_fields: Mapping[str, Any], labels_file: Path | None = None
) -> Statements:
    """Return the statements of flags, by field, over those of a preset; labels come from a file."""
    flags = {name: Stated(value, f"--{FLAGS.get(name, name)}") for name, value in given.items()}
    ways = {"letterbox": given.get("resize_side") == "longer", "resize": "resize" in given}
    ways["crop-fraction"] = "crop_fraction" in given
    resized_by = " ".join(f"--{way}" for way, is_said in ways.items() if is_said)
    flags |= {name: replace(flags[name], source=resized_by) for name in GEOMETRY if name in given}
    if labels_file is not None:
        flags["labels"] = replace(flags["labels"], source=f"--labels {labels_file.name}")
    chosen = {name: Stated(value, f"--preprocessing {preset}") for name, value in preset_fields.items()}
    if {"mean", "std"} <= set(flags) and "scale" not in flags:
        chosen.pop("scale", None)
        flags["scale"] = Stated(1.0, DEFAULT)
    return merged([flags, chosen])
