"""Where two ways of ranking layers put the one that was altered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.bundles.disk import StoredBundle
from service.contract.arrays import Array, Pixels
from service.contract.label_kinds import EXCLUSIVE, Labels
from service.contract.runtime.opening import Runtime
from service.diagnostics.compare import differences
from service.diagnostics.gradients import diagnose
from service.diagnostics.loss_change.changed import loss_change
from service.diagnostics.loss_change.result import LossChange
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.schemas.gradients import ComparedModel
from service.diagnostics.verdicts.thresholds import Thresholds
from service.images.preprocess import normalise
from service.offline.model import CHUNK, OfflineModel, finished


@dataclass(frozen=True)
class Judged:
    """Ranks of the altered layer from 1: by change of loss, and by decades of its relative gradient norm."""

    by_loss: int
    by_norms: int
    change: LossChange


class Judging:
    """Ranks layers on the same images, of which OLD is measured once."""

    def __init__(self, old: StoredBundle, pixels: Pixels, labels: Labels) -> None:
        self._old, self._pixels, self._labels = old, pixels, labels
        self._runtime = Runtime("cpu")
        self._tensor = normalise(pixels, old.bundle.input)
        self._gradients = self._compared(old)

    def judged(self, new: StoredBundle, layer: str) -> Judged:
        """Rank `layer` among all of `new`, whose structure is that of OLD."""
        found = self.change(new)
        moved = differences([self._gradients, self._compared(new)])
        return Judged(
            rank([part.change for part in found.parts], [part.name for part in found.parts].index(layer)),
            rank([one.decades for one in moved], [one.layer for one in moved].index(layer)),
            found,
        )

    def change(self, new: StoredBundle) -> LossChange:
        """Divide the change of loss from OLD to `new` among the layers."""
        found = loss_change(self._old, new, self._runtime, self._batches)
        if not isinstance(found, LossChange):
            raise ValueError(found.reason)
        return found

    @property
    def old_loss(self) -> float:
        """Mean loss of OLD in nats."""
        return self.loss(self._old)

    def loss(self, stored: StoredBundle) -> float:
        """Return the mean loss of a version in nats."""
        session = self._runtime.open(stored.directory / stored.bundle.graphs["forward"].file)
        logits = np.concatenate([session.run({"input": images})["logits"] for images, _ in self._batches()])
        return float(EXCLUSIVE.losses(logits, self._labels).mean())

    def _batches(self) -> Sequence[tuple[Array, Labels]]:
        starts = range(0, len(self._tensor), CHUNK)
        return [(self._tensor[start:][:CHUNK], self._labels[start:][:CHUNK]) for start in starts]

    def _compared(self, stored: StoredBundle) -> ComparedModel:
        model = OfflineModel(Path(stored.directory), self._runtime)
        measured = finished(
            measure_gradients(model.run, model.bundle, self._pixels, self._labels, channels_are_known=True)
        )
        found = diagnose(model.bundle, measured, Thresholds())
        return ComparedModel(
            model=model.bundle.name,
            version=model.bundle.version,
            bundle=stored.digest,
            execution_provider=self._runtime.provider,
            request_id="",
            samples=found.samples,
            layers=found.layers,
            verdict=found.verdict,
        )


def rank(values: Sequence[float], place: int) -> int:
    """Return the rank from 1 of one value by size, whichever its sign; of equal ones it is the last."""
    sizes = np.abs(np.array(values))
    return int((sizes >= sizes[place]).sum())
