"""The gradients of both versions on a sample of the images: verdicts before and now, and the layers that moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from service.diagnostics.compare import differences
from service.diagnostics.schemas.gradients import ComparedModel, LayerDifference
from service.diagnostics.verdicts.thresholds import Thresholds
from service.offline.against.versions import NotDiagnosed, Pictures, Version
from service.offline.model import LabelledFile
from service.offline.outcome import LookedAt, UndecodableFile


@dataclass(frozen=True)
class BothGradients:
    """What the gradients of two versions say: None where a version has none, and why."""

    old: ComparedModel | str
    new: ComparedModel | str
    images: LookedAt

    @property
    def in_both(self) -> list[LayerDifference] | None:
        """Every layer of the old version that the new one has too; None where gradients or such layers are missing."""
        return [one for one in self._compared if one.matched_by != "depth"] or None

    @property
    def in_old_alone(self) -> list[str]:
        """Layers of the old version that the new one lacks: what is as deep there is another layer."""
        return [one.layer for one in self._compared if one.matched_by == "depth"]

    @cached_property
    def _compared(self) -> list[LayerDifference]:
        if isinstance(self.old, str) or isinstance(self.new, str):
            return []
        return differences([self.old, self.new])


def sample_of(files: Sequence[LabelledFile], count: int) -> list[LabelledFile]:
    """Return up to `count` files, spread over all."""
    rows = np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)
    return [files[row] for row in rows]


def usable(folder: Path, files: Sequence[LabelledFile], old: Version, new: Version) -> tuple[Pictures, LookedAt]:
    """Return the files that both versions can decode, labelled only where both know the label.

    Raises:
        ValueError: there is none.
    """
    pictures = Pictures(folder, files)
    kept, undecodable = [], []
    for file, first, second in zip(files, pictures.pixels(old.input), pictures.pixels(new.input), strict=True):
        reason = next((one for one in (first, second) if isinstance(one, str)), None)
        if reason is not None:
            undecodable.append(UndecodableFile(path=file.path, reason=reason.rstrip(".")))
        else:
            kept.append(LabelledFile(file.path, file.label if old.label_of(file) and new.label_of(file) else None))
    if not kept:
        raise ValueError(f"{folder}: none of {len(files)} images that were looked at can be decoded")
    spec = new.input
    said = LookedAt(count=len(kept), height=spec.height, width=spec.width, folder=str(folder), undecodable=undecodable)
    return Pictures(folder, kept), said


def gradients_of(
    old: Version, new: Version, folder: Path, files: Sequence[LabelledFile], thresholds: Thresholds
) -> BothGradients:
    """Measure the gradients of both versions on some files, and judge each version by them.

    Raises:
        ValueError: no file can be decoded.
    """
    pictures, said = usable(folder, files, old, new)
    return BothGradients(_of(old, pictures, thresholds), _of(new, pictures, thresholds), said)


def _of(version: Version, pictures: Pictures, thresholds: Thresholds) -> ComparedModel | str:
    try:
        return version.gradients(pictures, thresholds)
    except NotDiagnosed as error:
        return str(error)
