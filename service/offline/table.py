"""The CSV table of `python -m service diagnose`: one row per image, in order of path.

A run that was stopped continues where the table ends, so rows are appended as they are measured, whole or not at all.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from service.contract.bundle_schema import Bundle
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.offline.model import LabelledFile
from service.output.system_errors import system_reason
from service.output.whole_files import replaced_file

Row = dict[str, str]

NUMBERS: Final = (
    "loss", "probability", "max_probability", "energy", "gradnorm", "layer_norm_distance",
    "margin", "el2n", "grand", "logit_gradient_norm",
)  # fmt: skip
SERVED: Final = "served"
"""The column with what /predict answers, by an int8 file's own graph; `predicted` is by the float network."""
LAYER_PREFIX: Final = "r:"
"""Begins the names of the columns with scaled_gradient_norm / ‖dL/dlogits‖, one per layer."""


def columns(bundle: Bundle) -> list[str]:
    """Return the header of the table."""
    layers = (LAYER_PREFIX + layer.name for layer in bundle.layers)
    served = [SERVED] if has_served(bundle) else []
    return ["path", "label", "predicted", *served, *NUMBERS, "error", *layers]


def has_served(bundle: Bundle) -> bool:
    """Tell whether the table says what /predict answers, which only of an int8 model is by another network."""
    return bundle.quantized is not None and bundle.quantized.has_two_networks


def rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a table."""
    with table.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def predicted_labels(row: Row, bundle: Bundle) -> list[str]:
    """Return the labels that are predicted for an image: one class, or any number of independent labels."""
    if bundle.label_kind == "exclusive":
        return [row["predicted"]]
    return row["predicted"].split(LABELS_BETWEEN) if row["predicted"] else []


def append(table: Path, header: list[str], measured: list[dict[str, Any]]) -> None:
    """Write the rows at the end of the table, or the header if there are no rows.

    Raises:
        OSError: not all of it can be written; then none of it is there.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="")
    if measured:
        writer.writerows(measured)
    else:
        writer.writeheader()
    with table.open("ab", buffering=0) as stream:
        before = stream.seek(0, io.SEEK_END)
        rest = memoryview(text.getvalue().encode())
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError as error:
            stream.truncate(before)
            raise OSError(
                f"{table} cannot be written: {system_reason(error)}; "
                "the rows before stay, and the same command goes on there"
            ) from error


def rows_written(table: Path, header: list[str], files: list[LabelledFile]) -> int:
    """Return how many rows of `files` are in the table; remove a last row that was cut short.

    Raises:
        ValueError: the table is of another model, folder or shard.
    """
    if not table.exists():
        return 0
    content = table.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with table.open("r+b") as stream:
            stream.truncate(whole)
    done = 0
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        if next(reader, header) != header:
            raise ValueError(f"{table} is the table of another model; take another --out")
        for done, row in enumerate(reader, 1):
            if done > len(files) or row[0] != files[done - 1].path:
                raise ValueError(f"{table} is the table of another folder or shard; take another --out")
    return done


def merge(parts: Sequence[Path], table: Path) -> None:
    """Write the rows of the parts into one table, part after part.

    Raises:
        ValueError: the parts are of different models.
        OSError: a part cannot be read, or the table cannot be written; then it stays as it was.
    """
    headers = []
    for part in parts:
        with part.open("rb") as source:
            headers.append(source.readline())
        if headers[-1] != headers[0]:
            raise ValueError(f"{part} is the table of another model than {parts[0]}")
    with replaced_file(table) as stream:
        stream.write(headers[0])
        for part in parts:
            with part.open("rb") as source:
                source.readline()
                shutil.copyfileobj(source, stream)
