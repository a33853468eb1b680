"""The table, read once: what the report says of all its rows, in memory that does not grow with them."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from service.contract.bundle_schema import Bundle
from service.contract.loss import LEAST_LOGIT_GRADIENT
from service.offline.living_channels import LivingChannels
from service.offline.report.sampling import EveryKth
from service.offline.table import FIRST_ALIVE, LAYER_PREFIX, SERVED, Row, columns, has_served, labels_in, rows

SUSPECTS: Final = 100
HARDEST: Final = 50
FOREIGN: Final = 50
MOST_FOLDERS: Final = 20
"""Folders without a label that are named."""


class Worst:
    """The `count` rows of largest badness among those given, worst first, ties by path; never one of badness NaN."""

    def __init__(self, count: int, badness: Callable[[Row], float]) -> None:
        self._count, self._badness = count, badness
        self._kept: list[tuple[float, str, Row]] = []

    def take(self, row: Row) -> None:
        value = self._badness(row)
        if not math.isnan(value):
            self._kept.append((-value, row["path"], row))
        if len(self._kept) > 2 * self._count + 100:
            self._kept = self._first()

    @property
    def rows(self) -> list[Row]:
        return [row for _, _, row in self._first()]

    def _first(self) -> list[tuple[float, str, Row]]:
        return heapq.nsmallest(self._count, self._kept, key=lambda kept: kept[:2])


@dataclass
class Answers:
    """The answers of one network, for the images with a label that could be decoded.

    `taken_for` has, of each label, how many of its images are answered so; an image of independent labels counts for
    each label that is predicted.
    """

    images: Counter[str]
    taken_for: dict[str, Counter[str]]

    @classmethod
    def none(cls) -> Answers:
        return cls(Counter(), {})

    def take(self, label: str, answered: list[str]) -> None:
        self.images[label] += 1
        self.taken_for.setdefault(label, Counter()).update(answered)

    @property
    def labelled(self) -> int:
        return self.images.total()

    @property
    def right(self) -> int:
        """Images whose own label is among the answers."""
        return sum(self.right_of(label) for label in self.images)

    def right_of(self, label: str) -> int:
        return self.taken_for[label][label]


class Tally:
    """The sums of all rows of a table.

    `answers` are those of /predict, and `network` those of the network whose gradients were measured, which is
    another only for an int8 model. `norms` are those of the layers, and the gradient at the logits in the last column.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.images = self.broken = self.labelled = self.saturated = self.differing = 0
        self.folders_without_label: dict[str, None] = {}
        self.network = Answers.none()
        self.answers = Answers.none() if has_served(bundle) else self.network
        self.suspects = Worst(SUSPECTS, lambda row: -parsed(row["probability"]))
        self.hardest = Worst(HARDEST, lambda row: parsed(row["grand"]))
        self.foreign = Worst(FOREIGN, lambda row: parsed(row["layer_norm_distance"]))
        self.norms = EveryKth(len(bundle.layers) + 1)
        self._layers = [LAYER_PREFIX + layer.name for layer in bundle.layers]
        self.living = LivingChannels(bundle) if FIRST_ALIVE in columns(bundle) else None

    def take(self, row: Row) -> None:
        self.images += 1
        label = row["label"]
        self.labelled += bool(label)
        if not label and len(self.folders_without_label) < MOST_FOLDERS:
            self.folders_without_label[PurePosixPath(row["path"]).parent.name] = None
        if row["error"]:
            self.broken += 1
            return
        predicted = labels_in(row["predicted"], self.bundle)
        served = labels_in(row[SERVED], self.bundle) if SERVED in row else predicted
        self.differing += set(served) != set(predicted)
        if label:
            self.network.take(label, predicted)
            if self.answers is not self.network:
                self.answers.take(label, served)
            if label not in predicted:
                self.suspects.take(row)
        self.hardest.take(row)
        self.foreign.take(row)
        size = parsed(row["logit_gradient_norm"])
        self.saturated += size < LEAST_LOGIT_GRADIENT
        self.norms.take([*(parsed(row[name]) for name in self._layers), size])
        if self.living is not None:
            self.living.take(row[FIRST_ALIVE])

    @property
    def decoded(self) -> int:
        return self.images - self.broken


def tally_of(table: Path, bundle: Bundle) -> Tally:
    """Read a table of this bundle."""
    tally = Tally(bundle)
    for row in rows(table):
        tally.take(row)
    return tally


def parsed(cell: str) -> float:
    """Return the number in a cell; NaN if the cell is empty."""
    return float(cell) if cell else math.nan
