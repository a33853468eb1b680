"""The CSV table of `python -m service diagnose`: one row per image, in order of path.

A run that was stopped continues where the table ends, so rows are appended as they are measured, whole or not at all.
Each row names the bundle that it was measured with, so that rows of two models never stand in one table.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from service.bundles.disk import StoredBundle
from service.contract.bundle_schema import Bundle
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.offline.living_channels import channels_of
from service.offline.model import LabelledFile
from service.output.printable import printable
from service.output.system_errors import system_reason
from service.output.whole_files import replaced_file

Row = dict[str, str]

NUMBERS: Final = (
    "loss", "probability", "max_probability", "energy", "gradnorm", "layer_norm_distance",
    "margin", "el2n", "grand", "logit_gradient_norm",
)  # fmt: skip
SERVED: Final = "served"
"""The column with what /predict answers, by an int8 file's own graph; `predicted` is by the float network."""
DIGEST: Final = "bundle"
"""The column with the digest of the bundle."""
FIRST_ALIVE: Final = "first_alive"
"""The column with the rectifiers' channels that no row before has (`living_channels`)."""
BLOCK: Final = 2**16
"""Bytes read at a time."""
LAYER_PREFIX: Final = "r:"
"""Begins the names of the columns with scaled_gradient_norm / ‖dL/dlogits‖, one per layer; of a saturated image, for
its runner-up label."""


def columns(bundle: Bundle) -> list[str]:
    """Return the header of the table."""
    layers = (LAYER_PREFIX + layer.name for layer in bundle.layers)
    served = [SERVED] if has_served(bundle) else []
    first_alive = [FIRST_ALIVE] if channels_of(bundle) else []
    return ["path", "label", "predicted", *served, *NUMBERS, "error", DIGEST, *first_alive, *layers]


def has_served(bundle: Bundle) -> bool:
    """Tell whether the table says what /predict answers, which only of an int8 model is by another network."""
    return bundle.quantized is not None and bundle.quantized.has_two_networks


def rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a table."""
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        yield from csv.DictReader(stream)


def labels_in(cell: str, bundle: Bundle) -> list[str]:
    """Return the labels that are predicted for an image: one class, or any number of independent labels."""
    if bundle.label_kind == "exclusive":
        return [cell]
    return cell.split(LABELS_BETWEEN) if cell else []


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
        rest = memoryview(text.getvalue().encode(errors="surrogateescape"))  # a file's name may not be UTF-8
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError as error:
            stream.truncate(before)
            raise OSError(
                f"{table} cannot be written: {system_reason(error)}; "
                "the rows before stay, and the same command goes on there"
            ) from error


def rows_written(table: Path, stored: StoredBundle, files: list[LabelledFile]) -> int:
    """Return how many rows of `files` are in the table; remove a last row that was cut short.

    Raises:
        ValueError: the table is of another model, folder or shard.
    """
    if not table.exists() or not without_cut_row(table):
        return 0
    _check_header(table, stored.bundle)
    done = 0
    for done, row in enumerate(rows(table), 1):
        if done > len(files) or row["path"] != files[done - 1].path:
            raise ValueError(f"{table} is the table of another folder or shard; take another --out")
        if row["label"] != (files[done - 1].label or ""):
            raise ValueError(f"{table} has other labels (--unlabelled given once only?); take another --out")
        _check_digest(table, row, stored)
    return done


def without_cut_row(table: Path) -> int:
    """Remove what stands behind the last end of a line; return the bytes that stay."""
    with table.open("r+b") as stream:
        end = stream.seek(0, io.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            stream.seek(start)
            last = stream.read(end - start).rfind(b"\n")
            if last >= 0:
                end = start + last + 1
                break
            end = start
        stream.truncate(end)
    return end


def check(tables: Sequence[Path], stored: StoredBundle) -> None:
    """Check that tables, one after the other, are one table of this bundle.

    Raises:
        ValueError: a table is of another model, or its rows are not after those of the table before.
    """
    before = None
    for table in tables:
        _check_header(table, stored.bundle)
        for row in rows(table):
            _check_digest(table, row, stored)
            path = PurePosixPath(row["path"])
            if before is not None and path <= before:
                raise ValueError(
                    f"{table}: {printable(str(path))} comes after {printable(str(before))}: name each part once, "
                    "in the order of the shards"
                )
            before = path


def _check_header(table: Path, bundle: Bundle) -> None:
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        found = next(csv.reader(stream), [])
    expected = columns(bundle)
    if found == [name for name in expected if name not in (DIGEST, FIRST_ALIVE)]:
        raise ValueError(
            f"{table} was begun by an earlier version, which did not record which bundle it measured and which "
            "channels were alive; it cannot be continued or merged: take another --out, and measure again"
        )
    if found != expected:
        raise ValueError(f"{table} is the table of another model; take another --out")


def _check_digest(table: Path, row: Row, stored: StoredBundle) -> None:
    if row[DIGEST] != stored.digest:
        raise ValueError(
            f"{table} was measured with another bundle ({printable(row[DIGEST] or 'none')}, not {stored.digest}); "
            "take another --out"
        )


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
