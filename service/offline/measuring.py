"""The rows of the table: every image of a folder measured, and written as it is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.reference import read_reference
from service.contract.arrays import Array
from service.contract.reference import ReferenceStatistics
from service.diagnostics.gradients import judged_norms
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.quantized import served_predictions
from service.diagnostics.schemas.base import LABELS_BETWEEN, predicted_names
from service.diagnostics.schemas.scores import SampleLabelsScores, SampleScores
from service.diagnostics.scores import score
from service.images.errors import ImageError
from service.offline.living_channels import LivingChannels
from service.offline.model import CHUNK, LabelledFile, OfflineModel, decoded, labels_of
from service.offline.table import (
    DIGEST,
    FIRST_ALIVE,
    LAYER_PREFIX,
    NUMBERS,
    SERVED,
    append,
    columns,
    has_served,
    rows,
    rows_written,
)
from service.output.console import remark


async def measure_files(model: OfflineModel, folder: Path, files: list[LabelledFile], table: Path) -> None:
    """Append a row for every file that the table does not have yet.

    Raises:
        ValueError: the table is of another model or folder.
        OSError: the table cannot be written; the rows that it has stay, and the next run continues after them.
    """
    header = columns(model.bundle)
    done = rows_written(table, model.stored, files)
    living = LivingChannels(model.bundle)
    if not (table.exists() and table.stat().st_size):
        append(table, header, [])
    elif FIRST_ALIVE in header:
        for row in rows(table):
            living.take(row[FIRST_ALIVE])
    measuring = Measuring(model, folder, living)
    progress = Progress(len(files), done)
    for start in range(done, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        append(table, header, await measuring.rows_of(chunk))
        progress.show(start + len(chunk))


class Measuring:
    """One model that measures the images of one folder, in the order of the table."""

    def __init__(self, model: OfflineModel, folder: Path, living: LivingChannels) -> None:
        """Read the bundle's reference statistics, which the scores need.

        Args:
            living: the channels that the rows before have found alive.
        """
        self._model, self._folder, self._living = model, folder, living
        self._reference: ReferenceStatistics | None = read_reference(model.stored)

    async def rows_of(self, files: list[LabelledFile]) -> list[dict[str, Any]]:
        """Measure the files, and return one row for each; a file that cannot be decoded has only its `error`."""
        model = self._model
        written: list[dict[str, Any]] = [
            {"path": file.path, "label": file.label or "", DIGEST: model.stored.digest} for file in files
        ]
        pixels: dict[int, Array] = {}
        for position, one in enumerate(decoded(self._folder, files, model)):
            if isinstance(one, ImageError):
                written[position]["error"] = one.detail
            else:
                pixels[position] = one
        if pixels:
            labels = labels_of([files[position] for position in pixels], model.bundle)
            measured = await self._cells(np.stack(list(pixels.values())), labels)
            for position, cells in zip(pixels, measured, strict=True):
                written[position] |= cells
        return written

    async def _cells(self, pixels: Array, labels: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return scores, loss and relative norms of each image, with six digits, and what is alive there first."""
        model, bundle, kind = self._model, self._model.bundle, self._model.kind
        looks = bool(self._living.alive.size)
        measured = await measure_gradients(model.run, bundle, pixels, labels, ("activations",) if looks else ())
        norms = predicted_norms = measured.norms
        if self._reference is not None and kind.are_given(labels).any():
            predicted_norms = await model.run("weight_norms", pixels)
        scored: Sequence[SampleScores | SampleLabelsScores] = score(
            bundle, norms, labels, predicted_norms, self._reference
        )
        judged = judged_norms(measured)
        loss = kind.losses(norms["logits"], judged.labels)
        likelihood = kind.likelihoods(norms["logits"], judged.labels)
        served = await served_predictions(model.run, bundle, pixels) if has_served(bundle) else None
        alive = self._living.cells(measured.activations["channel_peak"]) if looks and measured.activations else None
        cells = []
        for row, sample in enumerate(scored):
            found = {
                "probability": likelihood[row],
                **sample.model_dump(include=set(NUMBERS), exclude_none=True),
                "loss": loss[row],
                "logit_gradient_norm": judged.sizes[row],
            }
            numbers = {name: f"{value:.6g}" for name, value in found.items() if value is not None}
            layers = {LAYER_PREFIX + one.name: f"{judged.judged[row, i]:.6g}" for i, one in enumerate(bundle.layers)}
            named = {"predicted": LABELS_BETWEEN.join(predicted_names(sample))}
            if served is not None:
                named[SERVED] = LABELS_BETWEEN.join(served[row])
            if alive is not None:
                named[FIRST_ALIVE] = alive[row]
            cells.append({**named, **numbers, **layers})
        return cells


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
        remark(line, end)
