"""All that a folder and a file say: each producer's reader is asked where its files are.

A producer's own config comes before files of labels, which any framework writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.folders import custom_vision, hugging_face, paddle, timm_config, triton
from export.importing.folders.image_metadata import said_by_image_metadata
from export.importing.folders.label_files import said_by_label_files, told_apart
from export.importing.folders.stated import FileFacts, Said, Stated
from export.importing.folders.ultralytics import is_ultralytics, said_by_ultralytics

PROCESSOR = "processor_config.json"
LARGEST = 64 * 2**20
"""Most bytes of a JSON file that is read."""
PICTURES = frozenset({"mean", "std", "resize_side", "interpolation"})
"""Fields that settle how pictures are prepared."""


def said_by_folder(folder: Path, facts: FileFacts, told: frozenset[str] = frozenset()) -> Said:
    """Return what the files in `folder` say of its model.

    `told` are the fields that flags have settled.
    Raises OptionMismatch where a file cannot be read, or says what no bundle can state.
    """
    said = said_by_label_files(folder) if "labels" not in told else Said()
    for part in _producers(folder, facts, told):
        said.statements |= part.statements
        said.notes += part.notes
    return _with_own_labels(said)


def said_by_file(facts: FileFacts) -> Said:
    """Return what the file's own metadata say."""
    said = said_by_image_metadata(facts.metadata)
    if is_ultralytics(facts.metadata):
        said.statements |= said_by_ultralytics(facts.metadata).statements
    return _with_own_labels(said)


def speaks(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that say something of a model."""
    names = (hugging_face.CONFIG, hugging_face.PREPROCESSOR, paddle.INFERENCE, custom_vision.PROPERTIES, triton.CONFIG)
    return [name for name in names if (folder / name).is_file()]


def _producers(folder: Path, facts: FileFacts, told: frozenset[str]) -> list[Said]:
    """Ask each producer's reader whose files are in the folder.

    A reader that fails is passed over, with a note, where flags have settled how pictures are prepared.
    """
    config = read_json(folder / hugging_face.CONFIG)
    preprocessor = read_json(folder / hugging_face.PREPROCESSOR) or _nested(folder)
    properties, manifest = read_json(folder / custom_vision.PROPERTIES), read_json(folder / custom_vision.MANIFEST)
    readers: list[Callable[[], Said]] = []
    cfg = timm_config.timm_config(config)
    if config:
        readers.append(lambda: hugging_face.said_by_config(config))
    if cfg is not None:
        readers.append(lambda: timm_config.said_by_timm(config, cfg, facts))
    elif preprocessor:
        readers.append(lambda: hugging_face.said_by_preprocessor(preprocessor, config.get("model_type")))
    if (folder / paddle.INFERENCE).is_file():
        readers.append(lambda: paddle.said_by_paddle(paddle.read_yaml(folder / paddle.INFERENCE), folder))
    if custom_vision.is_custom_vision(properties, manifest):
        readers.append(lambda: custom_vision.said_by_custom_vision(properties, manifest, facts.metadata))
    if (folder / triton.CONFIG).is_file():
        readers.append(lambda: triton.said_by_triton(folder))
    return [_asked(reader, settled=told >= PICTURES) for reader in readers]


def _asked(reader: Callable[[], Said], *, settled: bool) -> Said:
    try:
        return reader()
    except OptionMismatch as error:
        if not settled:
            raise
        return Said(notes=[f"passed over, because flags settle it: {error}"])


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is no such file. Raises OptionMismatch where it is no JSON object."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST:
            raise OptionMismatch(f"{path.name}: it has more than {LARGEST:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionMismatch(f"{path.name}: it cannot be read as JSON") from error
    if not isinstance(found, dict):
        raise OptionMismatch(f"{path.name}: a JSON object is needed")
    return found


def _nested(folder: Path) -> dict[str, Any]:
    """Return the image processor's part of a `processor_config.json`."""
    found = read_json(folder / PROCESSOR).get("image_processor")
    return found if isinstance(found, dict) else {}


def _with_own_labels(said: Said) -> Said:
    """Tell labels apart that several classes have, with a note; ImageNet has two cranes."""
    found = said.statements.get("labels")
    if found is None:
        return said
    labels = tuple(str(label).strip() for label in found.value)
    if len(labels) < 2 or not all(labels):
        raise OptionMismatch(f"{found.source} names {len(labels)} classes, one of them empty or alone; say --labels")
    distinct = told_apart(labels)
    if distinct != labels:
        said.notes.append("labels that several classes have are told apart by the classes' numbers")
    said.statements["labels"] = Stated(distinct, found.source)
    return said
