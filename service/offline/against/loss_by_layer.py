"""Which layers changed the loss: the change from the old version to the new one, taken apart by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Pixels
from service.diagnostics.loss_change.architecture import why_not_one
from service.diagnostics.loss_change.changed import loss_change
from service.diagnostics.loss_change.result import LossChange, NotDivided
from service.diagnostics.words import percent, plural
from service.images.preprocess import normalise
from service.offline.against.gradients import sample_of
from service.offline.against.outcome import LayerChange, LossByLayer
from service.offline.against.versions import LocalVersion, Pictures, Version
from service.offline.model import LabelledFile, images_per_run, labels_of
from service.offline.report.markup import number
from service.output.console import remark

MOST_KEPT: Final = 2**27
"""Bytes of pixels that are kept."""


def loss_by_layer(
    old: Version, new: Version, folder: Path, files: Sequence[LabelledFile], images: int
) -> LossByLayer | str:
    """Return the change of the mean loss by layer on some labelled images, or why there is none.

    Args:
        images: labelled images to take, at most, spread over all.
    """
    if not isinstance(old, LocalVersion) or not isinstance(new, LocalVersion):
        return "a service does not hand out its weights"
    if reason := why_not_one(old.model.bundle, new.model.bundle):
        return reason
    labelled = [file for file in files if new.label_of(file) is not None]
    if not labelled:
        return "no image has a label"
    chosen = sample_of(labelled, images)
    # Every point of the line asks for the images again. What fits is decoded once.
    fits = len(chosen) * math.prod(new.input.image_shape) <= MOST_KEPT
    kept = list(_batches(folder, chosen, new)) if fits else None
    if not (kept if kept is not None else next(_batches(folder, chosen, new), None)):
        return f"none of {plural(len(chosen), 'labelled image')} can be decoded"

    def batches() -> Iterator[tuple[Array, NDArray[np.int64]]]:
        for pixels, labels in _batches(folder, chosen, new) if kept is None else kept:
            yield normalise(pixels, new.input), labels

    remark(f"taking the change of the loss apart by layer, on {len(chosen):,} images")
    try:
        found = loss_change(old.model.stored, new.model.stored, new.model.runtime, batches)
    except (OSError, ValueError):
        raise
    except Exception as error:  # ONNX Runtime's errors have no common class
        return f"the graph could not be run: {str(error).strip()}"
    return found.reason if isinstance(found, NotDivided) else _said(found)


def _batches(
    folder: Path, files: Sequence[LabelledFile], version: LocalVersion
) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Yield the pixels of images that can be decoded with their labels, as many at a time as a run takes."""
    size = images_per_run(version.input)
    for start in range(0, len(files), size):
        pictures = Pictures(folder, files[start : start + size])
        decoded = pictures.pixels(version.input)
        rows = [row for row, one in enumerate(decoded) if not isinstance(one, str)]
        if rows:
            pixels = np.stack([decoded[row] for row in rows])
            labels = labels_of([pictures.files[row] for row in rows], version.model.bundle)
            yield pixels, labels


def _said(found: LossChange) -> LossByLayer:
    return LossByLayer(
        images=found.images,
        measured=found.measured,
        total=found.total,
        is_complete=found.complete,
        steps=found.steps,
        layers=[LayerChange(layer=part.name, change=part.change) for part in found.by_size],
        because=_completeness(found),
    )


def _completeness(found: LossChange) -> str:
    if not found.by_size:
        return "No number of the network differs."
    off = f"{number(abs(found.error))} nats from the measured change"
    if found.complete:
        return f"The parts add up: their sum is {off}, with {found.steps} steps."
    share = f", {percent(abs(found.error / found.measured))} of it" if found.measured else ""
    return f"The parts do not add up: their sum is {off}{share}, with {found.steps} steps. Do not rely on them."
