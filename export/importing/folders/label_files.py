"""Files of labels that lie beside a model, in the forms in which frameworks write them.

labels.txt, classes.txt      one label a line, or JSON
synset.txt                   one "n01440764 tench, Tinca tinca" a line
class_indices.json           Keras: {"cat": 0}; ImageNet: {"0": ["n01440764", "tench"]}
index_to_name.json           TorchServe: {"0": "cat"} or {"0": ["n01440764", "tench"]}
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.labels import read_labels
from export.importing.folders.stated import Said

NAMES = (
    "labels.txt", "classes.txt", "labels.json", "classes.json",
    "class_indices.json", "imagenet_class_index.json", "index_to_name.json", "synset.txt",
)  # fmt: skip
SYNSET = re.compile(r"n\d{8}\s+(\S.*)")


def said_by_label_files(folder: Path) -> Said:
    """Return the labels of the files in `folder`; OptionMismatch where two of them disagree."""
    said = Said()
    read = {name: file_of_labels(folder / name) for name in NAMES if (folder / name).is_file()}
    if len(set(read.values())) > 1:
        raise OptionMismatch(f"{' and '.join(read)} name different classes; choose one with --labels")
    for name, labels in read.items():
        said.state(name, labels=labels)
        break
    return said


def file_of_labels(path: Path) -> tuple[str, ...]:
    """Read a file of labels in any of the forms above; OptionMismatch names it where it has another."""
    found = _json(path)
    if isinstance(found, dict) and "id2label" not in found:
        return _of_map(path.name, found)
    labels = read_labels(path)
    matches = [SYNSET.fullmatch(label) for label in labels]
    named = [match[1] for match in matches if match]
    return told_apart(tuple(named)) if len(named) == len(labels) else labels


def told_apart(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Add its number to each label that several classes have: ImageNet has two cranes."""
    count = Counter(labels)
    return tuple(f"{label} ({number})" if count[label] > 1 else label for number, label in enumerate(labels))


def _json(path: Path) -> Any:
    if path.suffix != ".json":
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise OptionMismatch(f"{path.name}: it cannot be read as JSON; say --labels") from error


def _of_map(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    """Read a map from label to number (Keras), or from number to a label or to (identifier, label)."""
    if all(isinstance(number, int) for number in found.values()):
        by_number = {number: label for label, number in found.items()}
    elif all(key.isdecimal() for key in found):
        by_number = {
            int(key): value[-1] if isinstance(value, list) and value else value for key, value in found.items()
        }
    else:
        by_number = {}
    numbered = [by_number.get(number) for number in range(len(found))]
    if len(found) < 2 or not all(isinstance(label, str) and label for label in numbered):
        raise OptionMismatch(f"{name}: it must number its classes from 0; say --labels")
    return told_apart(tuple(str(label) for label in numbered))
