"""`python -m service diagnose`: scores a whole folder of images into a CSV, and reads an HTML report out of it.

The CSV is the record: one row per image in order of path, written as it is measured, so that a run that was
stopped goes on where it was, and memory does not grow with the folder. `--shard I/N` takes the I-th of N
consecutive parts; the parts' files after `--merge` give the same report as one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import io
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.bundles.disk import BundleRefused
from service.contract.loss import logit_gradient_norms, loss_labels, losses, probabilities
from service.contract.runtime import ProviderUnavailable, Runtime
from service.diagnostics import scores
from service.diagnostics.gradients import relative_norms
from service.images.errors import ImageError
from service.offline.model import CHUNK, LabelledFile, OfflineModel, class_indices, decoded, labelled_files
from service.offline.report import render
from service.output.console import complain
from service.output.whole_files import replaced_file

Array = NDArray[Any]

NUMBERS: Final = (
    "loss", "probability", "max_probability", "energy", "gradnorm", "layer_norm_distance",
    "margin", "el2n", "grand", "logit_gradient_norm",
)  # fmt: skip
LAYER_PREFIX: Final = "r:"
"""Columns of scaled_gradient_norm / ‖dL/dlogits‖, one per layer."""


def main(arguments: Sequence[str]) -> int:
    """Measures what is missing, or merges, then writes the report; the exit status."""
    options = parser().parse_args(arguments)
    table = options.out.with_suffix(".csv")
    try:
        model = OfflineModel(options.bundle, Runtime(options.execution_provider))
        if options.merge:
            merge(options.merge, table)
        elif not options.data.is_dir():
            raise ValueError(f"{options.data}: no such folder")
        else:
            asyncio.run(measure_folder(model, options.data, table, options.shard))
        if options.out.suffix == ".html":
            report = render(table, options.data, model).encode()
            with replaced_file(options.out) as stream:
                stream.write(report)
    except (BundleRefused, ProviderUnavailable, ValueError, OSError) as error:
        complain(str(error))
        return 2
    print(options.out)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m service diagnose", description=__doc__)
    top.add_argument("--bundle", type=Path, required=True)
    top.add_argument("--data", type=Path, required=True, help="images, one folder per label")
    top.add_argument("--out", type=Path, required=True, help="report.csv or report.html (with report.csv beside it)")
    top.add_argument("--shard", type=read_shard, default=(1, 1), metavar="I/N", help="the I-th of N parts, from 1")
    top.add_argument("--merge", type=Path, nargs="+", metavar="PART.csv", help="the parts, in order; measures nothing")
    top.add_argument("--execution-provider", choices=("auto", "cpu", "cuda"), default="auto")
    return top


def read_shard(text: str) -> tuple[int, int]:
    """ "2/8" → (2, 8)."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError("a shard is I/N with 1 ≤ I ≤ N")
    return int(part), int(parts)


async def measure_folder(model: OfflineModel, folder: Path, table: Path, shard: tuple[int, int] = (1, 1)) -> None:
    """Appends a row for every image of the shard that `table` does not have yet.

    Raises:
        ValueError: no images, or `table` is of another model or folder.
        OSError: `table` cannot be written; the rows that it has stay, and the next run goes on behind them.
    """
    every = labelled_files(folder, model.bundle.labels)
    part, parts = shard
    files = every[len(every) * (part - 1) // parts : len(every) * part // parts]
    if not every:
        raise ValueError(f"{folder}: no images")
    done = rows_written(table, columns(model), files)
    reference = scores.read_reference(model.stored)
    progress = Progress(len(files), done)
    begun = table.exists() and table.stat().st_size > 0
    if not begun:
        append(table, columns(model), [])
    for start in range(done, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        append(table, columns(model), await rows_of(model, folder, chunk, reference))
        progress.show(start + len(chunk))


def append(table: Path, header: list[str], rows: list[dict[str, Any]]) -> None:
    """Writes `rows` at the end of `table`, or `header` where there are none.

    Raises:
        OSError: not all of it can be written; nothing of it is there then.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="")
    if rows:
        writer.writerows(rows)
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
                f"{table} cannot be written: {error.strerror}; the rows before stay, and the same command goes on there"
            ) from error


def columns(model: OfflineModel) -> list[str]:
    """Header of the table."""
    return [
        "path",
        "label",
        "predicted",
        *NUMBERS,
        "error",
        *(LAYER_PREFIX + layer.name for layer in model.bundle.layers),
    ]


def rows_written(table: Path, header: list[str], files: list[LabelledFile]) -> int:
    """How many rows of `files` are in `table`; a last row that was cut short is removed."""
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


async def rows_of(
    model: OfflineModel, folder: Path, files: list[LabelledFile], reference: scores.Reference | None
) -> list[dict[str, Any]]:
    """One row per file; one that cannot be decoded has only its `error`."""
    pixels = list(decoded(folder, files, model))
    good = [row for row, one in enumerate(pixels) if not isinstance(one, ImageError)]
    rows: list[dict[str, Any]] = [{"path": file.path, "label": file.label or ""} for file in files]
    for row, one in zip(rows, pixels, strict=True):
        if isinstance(one, ImageError):
            row["error"] = one.detail
    if good:
        chosen = [files[row] for row in good]
        stacked = np.stack([pixels[row] for row in good])  # type: ignore[misc]
        measured = await numbers_of(model, stacked, class_indices(chosen, model.bundle.labels), reference)
        for position, numbers in zip(good, measured, strict=True):
            rows[position] |= numbers
    return rows


async def numbers_of(
    model: OfflineModel, pixels: Array, labels: NDArray[np.int64], reference: scores.Reference | None
) -> list[dict[str, Any]]:
    """Scores, loss and relative norms of each image, to six digits."""
    norms = await model.run("weight_norms", pixels, labels)
    predicted_norms = norms
    if reference is not None and (labels >= 0).any():
        predicted_norms = await model.run("weight_norms", pixels)
    scored = scores.score(model.bundle, norms, labels, predicted_norms, reference)
    classes = loss_labels(norms["logits"], labels)
    sizes = logit_gradient_norms(norms["logits"], classes)
    relative = relative_norms(norms["scaled_gradient_norm"], sizes)
    loss, probability = losses(norms["logits"], classes), probabilities(norms["logits"])
    rows = []
    for row, sample in enumerate(scored):
        found = {
            **sample.model_dump(include=set(NUMBERS)),
            "loss": loss[row],
            "probability": probability[row, classes[row]],
            "logit_gradient_norm": sizes[row],
        }
        written = {name: f"{value:.6g}" for name, value in found.items() if value is not None}
        layers = {LAYER_PREFIX + layer.name: f"{relative[row, i]:.6g}" for i, layer in enumerate(model.bundle.layers)}
        rows.append({"predicted": sample.predicted_label, **written, **layers})
    return rows


def merge(parts: Sequence[Path], table: Path) -> None:
    """The rows of the parts one after the other.

    Raises:
        ValueError: they are of different models.
        OSError: a part cannot be read, or `table` not written; then it is as it was.
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


class Progress:
    """A line on the terminal, at most twice a second."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._began, self._skipped, self._last = total, time.monotonic(), done, 0.0

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < 0.5 and done < self._total:
            return
        self._last = now
        pace = (done - self._skipped) / max(now - self._began, 1e-9)
        bar = "#" * (30 * done // self._total)
        left = (self._total - done) / pace if pace else 0.0
        end = "\n" if done == self._total else ""
        line = f"\r[{bar:<30}] {done} of {self._total}, {pace:.0f} images/s, {left:.0f} s left "
        with contextlib.suppress(OSError):  # nobody may be there to see it
            print(line, end=end, file=sys.stderr)
