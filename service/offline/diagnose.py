"""Score a whole folder of images into a CSV table, and make an HTML report of it: the verb `diagnose`.

The rows are written as they are measured, so that a run that was stopped continues where it was, and memory does not
grow with the folder. `--shard I/N` takes the I-th of N consecutive parts. The tables of all parts, joined by
`--merge`, give the same report as one run.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.disk import BundleRefused
from service.bundles.reference import read_reference
from service.contract.arrays import Array
from service.contract.reference import ReferenceStatistics
from service.contract.runtime import ProviderUnavailable, Runtime
from service.diagnostics.gradients import relative_norms
from service.diagnostics.quantized import served_predictions
from service.diagnostics.schemas.base import LABELS_BETWEEN, predicted_names
from service.diagnostics.schemas.scores import SampleLabelsScores, SampleScores
from service.diagnostics.scores import score
from service.errors import NotReady
from service.images.errors import ImageError
from service.offline.model import (
    CHUNK,
    PATH_HELP,
    LabelledFile,
    OfflineModel,
    decoded,
    finished,
    labelled_files,
    labels_of,
    model_at,
)
from service.offline.report import render
from service.offline.table import LAYER_PREFIX, NUMBERS, SERVED, append, columns, has_served, merge, rows_written
from service.output.console import complain
from service.output.whole_files import replaced_file
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError


def main(arguments: Sequence[str], program: str = "python -m service diagnose") -> int:
    """Measure what is missing or merge tables, then write the report; return the exit status."""
    try:
        words, import_flags = split_flags(arguments)
        options = parser(program).parse_args(words)
        table = options.out.with_suffix(".csv")
        model = OfflineModel(model_at(options.bundle, import_flags), Runtime(options.execution_provider))
        if options.merge:
            merge(options.merge, table)
        elif not options.data.is_dir():
            raise ValueError(f"{options.data}: no such folder")
        else:
            finished(measure_folder(model, options.data, table, options.shard))
        if options.out.suffix == ".html":
            report = render(table, options.data, model).encode()
            with replaced_file(options.out) as stream:
                stream.write(report)
    except (
        BundleRefused, IncompleteFlag, NotReady, ProviderUnavailable, SourceError, ValueError, OSError
    ) as error:  # fmt: skip
        complain(str(error))
        return 2
    print(options.out)
    return 0


def _table_or_report(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".csv", ".html"):
        raise argparse.ArgumentTypeError(f"{text!r}: a name that ends in .csv or .html is needed")
    return path


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("--bundle", type=Path, required=True, metavar="PATH", help=PATH_HELP)
    top.add_argument("--data", type=Path, required=True, help="images, one folder per label")
    top.add_argument(
        "--out", type=_table_or_report, required=True, help="report.csv or report.html (with report.csv beside it)"
    )
    top.add_argument("--shard", type=read_shard, default=(1, 1), metavar="I/N", help="the I-th of N parts, from 1")
    top.add_argument("--merge", type=Path, nargs="+", metavar="PART.csv", help="the parts, in order; measures nothing")
    top.add_argument("--execution-provider", choices=("auto", "cpu", "cuda"), default="auto")
    return top


def read_shard(text: str) -> tuple[int, int]:
    """Read a shard: "2/8" → (2, 8)."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError("a shard is I/N with 1 ≤ I ≤ N")
    return int(part), int(parts)


async def measure_folder(model: OfflineModel, folder: Path, table: Path, shard: tuple[int, int] = (1, 1)) -> None:
    """Append a row for every image of the shard that the table does not have yet.

    Raises:
        ValueError: there are no images, or the table is of another model or folder.
        OSError: the table cannot be written; the rows that it has stay, and the next run continues after them.
    """
    header = columns(model.bundle)
    every = labelled_files(folder, model.bundle.labels)
    part, parts = shard
    files = every[len(every) * (part - 1) // parts : len(every) * part // parts]
    if not every:
        raise ValueError(f"{folder}: no images")
    done = rows_written(table, header, files)
    reference = read_reference(model.stored)
    progress = Progress(len(files), done)
    begun = table.exists() and table.stat().st_size > 0
    if not begun:
        append(table, header, [])
    for start in range(done, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        append(table, header, await rows_of(model, folder, chunk, reference))
        progress.show(start + len(chunk))


async def rows_of(
    model: OfflineModel, folder: Path, files: list[LabelledFile], reference: ReferenceStatistics | None
) -> list[dict[str, Any]]:
    """Measure the files, and return one row for each; a file that cannot be decoded has only its `error`."""
    rows: list[dict[str, Any]] = [{"path": file.path, "label": file.label or ""} for file in files]
    pixels: dict[int, Array] = {}
    for position, one in enumerate(decoded(folder, files, model)):
        if isinstance(one, ImageError):
            rows[position]["error"] = one.detail
        else:
            pixels[position] = one
    if pixels:
        labels = labels_of([files[position] for position in pixels], model.bundle)
        measured = await numbers_of(model, np.stack(list(pixels.values())), labels, reference)
        for position, numbers in zip(pixels, measured, strict=True):
            rows[position] |= numbers
    return rows


async def numbers_of(
    model: OfflineModel, pixels: Array, labels: NDArray[np.int64], reference: ReferenceStatistics | None
) -> list[dict[str, Any]]:
    """Return scores, loss and relative norms of each image, with six digits."""
    norms = await model.run("weight_norms", pixels, labels)
    predicted_norms = norms
    if reference is not None and model.kind.are_given(labels).any():
        predicted_norms = await model.run("weight_norms", pixels)
    scored: Sequence[SampleScores | SampleLabelsScores] = score(model.bundle, norms, labels, predicted_norms, reference)
    settled = model.kind.settled(norms["logits"], labels)
    sizes = model.kind.logit_gradient_norms(norms["logits"], settled)
    relative = relative_norms(norms["scaled_gradient_norm"], sizes)
    loss, likelihood = model.kind.losses(norms["logits"], settled), model.kind.likelihoods(norms["logits"], settled)
    served = await served_predictions(model.run, model.bundle, pixels) if has_served(model.bundle) else None
    rows = []
    for row, sample in enumerate(scored):
        found = {
            "probability": likelihood[row],
            **sample.model_dump(include=set(NUMBERS), exclude_none=True),
            "loss": loss[row],
            "logit_gradient_norm": sizes[row],
        }
        written = {name: f"{value:.6g}" for name, value in found.items() if value is not None}
        layers = {LAYER_PREFIX + layer.name: f"{relative[row, i]:.6g}" for i, layer in enumerate(model.bundle.layers)}
        labelled = {"predicted": LABELS_BETWEEN.join(predicted_names(sample))}
        if served is not None:
            labelled[SERVED] = LABELS_BETWEEN.join(served[row])
        rows.append({**labelled, **written, **layers})
    return rows


class Progress:
    """Progress on one line of the terminal, written at most twice a second."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._already_done = total, done
        self._start_time, self._last_shown = time.monotonic(), 0.0

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last_shown < 0.5 and done < self._total:
            return
        self._last_shown = now
        pace = (done - self._already_done) / max(now - self._start_time, 1e-9)
        bar = "#" * (30 * done // self._total)
        left = (self._total - done) / pace if pace else 0.0
        end = "\n" if done == self._total else ""
        line = f"\r[{bar:<30}] {done} of {self._total}, {pace:.0f} images/s, {left:.0f} s left "
        with contextlib.suppress(OSError):  # the terminal may be gone, and the work goes on
            print(line, end=end, file=sys.stderr)
