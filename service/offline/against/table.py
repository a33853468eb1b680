"""The CSV table of `check NEW --against OLD`: one row per image, with what both versions say of it.

As with the table of `diagnose`, rows are appended as they are measured, so that a run that was stopped continues where
the table ends. Each row names both bundles.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from service.offline.against.versions import Answered, Version
from service.offline.model import LabelledFile
from service.offline.table import Row, rows, without_cut_row
from service.output.printable import printable

OLD, NEW = "old", "new"
COLUMNS: Final = (
    "path", "label", "old_predicted", "new_predicted", "old_probability", "new_probability", "old_max_probability",
    "new_max_probability", "old_loss", "new_loss", "error", "old_bundle", "new_bundle",
)  # fmt: skip


def row_of(file: LabelledFile, old: tuple[Version, Answered | str], new: tuple[Version, Answered | str]) -> Row:
    """Return the row of one image; one that a version cannot decode has only its `error`."""
    row = {"path": file.path, "label": file.label or "", "old_bundle": old[0].digest, "new_bundle": new[0].digest}
    for side, (_, answer) in ((OLD, old), (NEW, new)):
        if isinstance(answer, str):
            return {**row, "error": answer}
        row |= _cells(side, answer)
    return row


def _cells(side: str, answer: Answered) -> Row:
    numbers = {"probability": answer.probability, "max_probability": answer.max_probability, "loss": answer.loss}
    cells = {f"{side}_{name}": f"{value:.9g}" for name, value in numbers.items() if value is not None}
    return {f"{side}_predicted": answer.predicted, **cells}


def number_in(row: Row, column: str) -> float:
    """Return the number in a cell; NaN if the cell is empty."""
    return float(row[column]) if row[column] else math.nan


def rows_written(table: Path, old: Version, new: Version, files: Sequence[LabelledFile]) -> int:
    """Return how many rows of `files` are in the table; remove a last row that was cut short.

    Raises:
        ValueError: the table is of other versions, or of another folder or shard.
    """
    if not table.exists() or not without_cut_row(table):
        return 0
    _check_header(table)
    done = 0
    for done, row in enumerate(rows(table), 1):
        if done > len(files) or row["path"] != files[done - 1].path:
            raise ValueError(f"{table} is the table of another folder or shard; take another --table")
        _check_label(table, row, files[done - 1])
        _check_versions(table, row, old, new)
    return done


def check(tables: Sequence[Path], old: Version, new: Version) -> None:
    """Check that tables, one after the other, are one table of these versions.

    Raises:
        ValueError: a table is of other versions, or its rows are not after those of the table before.
    """
    before = None
    for table in tables:
        _check_header(table)
        for row in rows(table):
            _check_versions(table, row, old, new)
            path = PurePosixPath(row["path"])
            if before is not None and path <= before:
                raise ValueError(
                    f"{table}: {printable(str(path))} comes after {printable(str(before))}: name each part once, "
                    "in the order of the shards"
                )
            before = path


def check_whole(tables: Sequence[Path], files: Sequence[LabelledFile]) -> None:
    """Check that tables, one after the other, have a row for each of the files and no other.

    Raises:
        ValueError: a row is missing or of another file, or has another label.
    """
    awaited = iter(files)
    for table in tables:
        for row in rows(table):
            file = next(awaited, None)
            if file is None:
                raise ValueError(f"{table} has {printable(row['path'])}, which is no image of --data")
            if row["path"] != file.path:
                raise ValueError(f"{table} has {printable(row['path'])} where {_missing(file)}")
            _check_label(table, row, file)
    if (file := next(awaited, None)) is not None:
        raise ValueError(f"{tables[-1]} ends where {_missing(file)}")


def _missing(file: LabelledFile) -> str:
    return f"{printable(file.path)} should come: a part is missing, or was not finished"


def _check_label(table: Path, row: Row, file: LabelledFile) -> None:
    if row["label"] != (file.label or ""):
        raise ValueError(f"{table} has other labels (--unlabelled given once only?); take another --table")


def _check_header(table: Path) -> None:
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        if tuple(next(csv.reader(stream), [])) != COLUMNS:
            raise ValueError(f"{table} is no table of `check --against`; take another --table")


def _check_versions(table: Path, row: Row, old: Version, new: Version) -> None:
    for side, version in ((OLD, old), (NEW, new)):
        found = row[f"{side}_bundle"]
        if found != version.digest:
            raise ValueError(
                f"{table} was measured with another {side} version ({printable(found or 'none')}, not "
                f"{version.digest}); take another --table"
            )
