"""Reading a file of labels: the names of the classes, in the model's order.

A text file has one label a line. A JSON file holds a list, or a map from the class's number to its label, as
`id2label` of a transformers `config.json` is.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.importing.flags.errors import OptionMismatch

NAMED = 5
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the labels in `path`: two or more, all different and none empty.

    Raises OptionMismatch, which names the lines at fault.
    """
    text = text_of(path)
    entries = _from_json(path, text) if text.lstrip().startswith(("[", "{")) else None
    labels = _from_lines(text) if entries is None else entries
    unit, units = ("line", "lines") if entries is None else ("entry", "entries")
    if len(labels) < 2:
        held = "one label" if labels else "no label"
        raise OptionMismatch(f"--labels {path}: it holds {held}; two or more are needed, one a line")
    first: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if not label:
            raise OptionMismatch(f"--labels {path}: {unit} {number} is empty; every class needs a label")
        if label in first:
            raise OptionMismatch(f"--labels {path}: {units} {first[label]} and {number} are both {label!r}")
        first[label] = number
    return tuple(labels)


def fitting_labels(
    given: Sequence[str] | None, own: Sequence[str] | None, scores: int, source: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels of a model with so many scores, and notes: those given, else the file's own, else numbers.

    One score is for two classes. Raises OptionMismatch where the labels given do not fit the model; `source` says where
    they were found.
    """
    classes = max(scores, 2)
    if given:
        if len(given) != classes:
            has = "one score, which is for two" if scores == 1 else str(scores)
            other = "leave --labels out" if source.startswith("--labels") else f"correct or remove {source}"
            raise OptionMismatch(
                f"{source} names {len(given)} classes, but the model has {has}: say --labels with a file of {classes} "
                f"labels, one a line, or {other} (without labels, classes are called by number)"
            )
        differ = own is not None and len(own) == classes and tuple(own) != tuple(given)
        note = f"the file itself calls its classes otherwise: {', '.join((own or ())[:NAMED])}, …" if differ else None
        return tuple(given), (note,) if note else ()
    if own is not None and len(own) == classes == len(set(own)) and all(own):
        return tuple(own), ("the labels are the file's own",)
    return tuple(map(str, range(classes))), (f"no labels are known: the {classes} classes are called by number",)


def text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OptionMismatch(f"--labels {path}: cannot be read ({error.strerror})") from error
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OptionMismatch(f"--labels {path}: line {line} is not UTF-8; save the file as UTF-8") from error
    if "\0" in text:
        raise OptionMismatch(f"--labels {path}: not a text file; one label a line is needed")
    return text


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _from_json(path: Path, text: str) -> list[str] | None:
    """Return the labels of a JSON document; None for lines of text of which the first begins with a bracket."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, dict):
        found = found.get("id2label", found)
    if isinstance(found, dict):
        wanted = [str(number) for number in range(len(found))]
        if set(found) != set(wanted):
            raise OptionMismatch(f'--labels {path}: a map must number its classes from "0" to "{len(found) - 1}"')
        found = [found[number] for number in wanted]
    if not isinstance(found, list) or any(not isinstance(label, str) for label in found):
        raise OptionMismatch(f"--labels {path}: the JSON must be a list of labels, or a map from number to label")
    return [label.strip() for label in found]
