"""The table, read once: what both versions answer, in memory that does not grow with the images."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.diagnostics.schemas.versions import Share
from service.diagnostics.versions.calibration import Calibration
from service.diagnostics.versions.flips import Flips
from service.diagnostics.versions.intervals import share_of
from service.offline.against.outcome import Changed, Flipped, LabelFlips, Mean
from service.offline.against.table import number_in
from service.offline.against.versions import Version
from service.offline.report.tally import Worst
from service.offline.table import Row, rows

WORST: Final = 20
MOST_CHANGED: Final = 20
"""Pairs of different answers that are listed."""
MOST_PAIRS: Final = 100_000
"""Pairs of different answers that are counted; those that turn up later are not."""


@dataclass
class Sum:
    """A mean that is added up."""

    total: float = 0.0
    count: int = 0

    def take(self, value: float) -> None:
        self.total += value
        self.count += 1


class Tally:
    """The sums of all rows of a table."""

    def __init__(self, old: Version, new: Version) -> None:
        self._old, self._new = old, new
        self.images = self.undecodable = self.unlabelled = 0
        self.label_of_old_alone = self.label_of_new_alone = self.of_new_alone_right = 0
        self.differing = 0
        self.flips = Flips()
        self.by_label: defaultdict[str, Flips] = defaultdict(Flips)
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.calibration = Calibration()
        self._losses = Sum(), Sum()
        self._worst = Worst(WORST, _loss_increase)

    def take(self, row: Row) -> None:
        self.images += 1
        if row["error"]:
            self.undecodable += 1
            return
        before, now = row["old_predicted"], row["new_predicted"]
        if before != now and set(self._predicted(before)) != set(self._predicted(now)):
            self.differing += 1
            if (before, now) in self.pairs or len(self.pairs) < MOST_PAIRS:
                self.pairs[before, now] += 1
        self._take_label(row, row["label"])

    def _predicted(self, text: str) -> list[str]:
        """Return the labels in a column of the table: one, or several where they are independent."""
        return text.split(LABELS_BETWEEN) if self._new.label_kind == "independent" else [text]

    def _take_label(self, row: Row, label: str) -> None:
        right_before, right_now = (label in self._predicted(row[f"{side}_predicted"]) for side in ("old", "new"))
        is_old, is_new = label in self._old.known, label in self._new.known
        if not (is_old and is_new):
            self.label_of_old_alone += is_old
            self.label_of_new_alone += is_new
            self.of_new_alone_right += is_new and right_now
            self.unlabelled += not (is_old or is_new)
            return
        self.flips.take(right_before=right_before, right_now=right_now)
        self.by_label[label].take(right_before=right_before, right_now=right_now)
        self.calibration.take(
            (number_in(row, "old_max_probability"), right_before), (number_in(row, "new_max_probability"), right_now)
        )
        for losses, side in zip(self._losses, ("old", "new"), strict=True):
            losses.take(number_in(row, f"{side}_loss"))
        if right_before and not right_now:
            self._worst.take(row)

    @property
    def disagreements(self) -> Share | None:
        """Images that the versions answer differently, of all that could be decoded."""
        return share_of(self.differing, self.images - self.undecodable)

    @property
    def loss(self) -> Mean | None:
        """The mean losses of the images that flips are counted of; None where there are none."""
        before, now = self._losses
        return Mean(before=before.total / before.count, now=now.total / now.count) if before.count else None

    @property
    def worst(self) -> list[Flipped]:
        """The negative flips with the largest increase of the loss."""
        return [
            Flipped(
                path=row["path"],
                label=row["label"],
                before=row["old_predicted"],
                now=row["new_predicted"],
                probability_before=number_in(row, "old_probability"),
                probability_now=number_in(row, "new_probability"),
                loss_increase=_loss_increase(row),
            )
            for row in self._worst.rows
        ]

    @property
    def changed(self) -> list[Changed]:
        """The most frequent pairs of different answers."""
        ordered = sorted(self.pairs.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Changed(before=before, now=now, images=count) for (before, now), count in ordered[:MOST_CHANGED]]

    @property
    def labels(self) -> list[LabelFlips]:
        """The flips of each label, the largest share of negative flips first."""
        found = []
        for label, flips in self.by_label.items():
            negative, positive = share_of(flips.negative, flips.images), share_of(flips.positive, flips.images)
            if negative is None or positive is None:
                continue
            found.append(
                LabelFlips(
                    label=label,
                    images=flips.images,
                    accuracy_before=flips.right_before / flips.images,
                    accuracy_now=flips.right_now / flips.images,
                    negative=negative,
                    positive=positive,
                )
            )
        return sorted(found, key=lambda one: (-one.negative.share, one.positive.share, one.label))


def _loss_increase(row: Row) -> float:
    return number_in(row, "new_loss") - number_in(row, "old_loss")


def tally_of(table: Path, old: Version, new: Version) -> Tally:
    """Read a table of these versions."""
    tally = Tally(old, new)
    for row in rows(table):
        tally.take(row)
    return tally
