"""All that a folder and a file say: each producer's reader is asked where its files are.

A producer's own config comes before files of labels, which any framework writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.folders import custom_vision, hugging_face, paddle, timm_config, triton
from export.importing.folders.image_metadata import said_by_image_metadata
from export.importing.folders.label_files import said_by_label_files, told_apart
from export.importing.folders.stated import FileFacts, Said, Stated
from export.importing.folders.ultralytics import is_ultralytics, labels_of_ultralytics, said_by_ultralytics

PROCESSOR = "processor_config.json"
LARGEST = 64 * 2**20
"""Most bytes of a JSON file that is read."""
LABELS = frozenset({"labels"})
PIXELS = frozenset({"mean", "std"})
PICTURES = PIXELS | {"resize_side", "interpolation"}
"""Fields that settle how pictures are prepared."""

Reader = tuple[Callable[[], Said], frozenset[str]]
"""A reader, and the fields that settle all it may fail to say."""


def said_by_folder(folder: Path, facts: FileFacts, told: frozenset[str] = frozenset()) -> Said:
    """Return what the files in `folder` say of its model.

    `told` are the fields that flags have settled: a reader that fails to say these is passed over, with a note.
    Raises OptionMismatch where a file cannot be read, or says what no bundle can state.
    """
    return _with_own_labels(_together([(lambda: said_by_label_files(folder), LABELS), *_readers(folder, facts)], told))


def said_by_file(facts: FileFacts, told: frozenset[str] = frozenset()) -> Said:
    """Return what the file's own metadata say; `told` and errors as for `said_by_folder`."""
    metadata = facts.metadata
    readers: list[Reader] = [(lambda: said_by_image_metadata(metadata), PIXELS)]
    if is_ultralytics(metadata):
        readers += [
            (lambda: labels_of_ultralytics(metadata), LABELS),
            (lambda: said_by_ultralytics(metadata), PICTURES | {"size"}),
        ]
    return _with_own_labels(_together(readers, told))


def speaks(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that say something of a model."""
    names = (hugging_face.CONFIG, hugging_face.PREPROCESSOR, paddle.INFERENCE, custom_vision.PROPERTIES, triton.CONFIG)
    return [name for name in names if (folder / name).is_file()]


def _readers(folder: Path, facts: FileFacts) -> Iterator[Reader]:
    """Yield each producer's readers whose files are in the folder."""
    config = read_json(folder / hugging_face.CONFIG)
    preprocessor = read_json(folder / hugging_face.PREPROCESSOR) or _nested(folder)
    properties, manifest = read_json(folder / custom_vision.PROPERTIES), read_json(folder / custom_vision.MANIFEST)
    if config:
        yield lambda: hugging_face.said_by_config(config), LABELS
    if (cfg := timm_config.timm_config(config)) is not None:
        yield lambda: timm_config.labels_of_timm(config, cfg), LABELS
        yield lambda: timm_config.said_by_timm(cfg, facts), PICTURES
    elif preprocessor:
        yield lambda: hugging_face.said_by_preprocessor(preprocessor, config.get("model_type")), PICTURES
    if (folder / paddle.INFERENCE).is_file():
        inference = paddle.read_yaml(folder / paddle.INFERENCE)
        yield lambda: paddle.labels_of_paddle(inference, folder), LABELS
        yield lambda: paddle.said_by_paddle(inference), PICTURES
    if custom_vision.is_custom_vision(properties, manifest):
        yield lambda: custom_vision.pixels_of_custom_vision(properties, facts.metadata), PIXELS
        yield lambda: custom_vision.said_by_custom_vision(manifest), PICTURES
    if (folder / triton.CONFIG).is_file():
        yield lambda: triton.said_by_triton(folder), LABELS


def _together(readers: Iterable[Reader], told: frozenset[str]) -> Said:
    """Ask all readers; what a later one says counts."""
    said = Said()
    for reader, settling in readers:
        try:
            part = reader()
        except OptionMismatch as error:
            if not settling <= told:
                raise
            said.notes.append(f"passed over, because flags settle it: {error}")
            continue
        said.statements |= part.statements
        said.notes += part.notes
    return said


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is no such file. Raises OptionMismatch where it is no JSON object."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST:
            raise OptionMismatch(f"{path.name}: it has more than {LARGEST:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionMismatch(
            f"{path.name}: it cannot be read as JSON; mend it, or name the .onnx file alone and say the rest by flags"
        ) from error
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
