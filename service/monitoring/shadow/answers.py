"""What two versions answered on the same images: counted over all of them, and over the last ones."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from service.diagnostics.schemas.shadow import ComparedAnswers, LabelPair
from service.diagnostics.versions.intervals import share_of

ShadowOutcome = Literal["compared", "dropped", "failed"]
"""Fate of an image that was drawn for the shadow."""

WINDOW: Final = 1024
"""Compared images that "the last ones" are."""
MOST_PAIRS: Final = 1000
"""Different pairs of labels that are counted by name; disagreements of further pairs are counted together."""
SHOWN_PAIRS: Final = 20

Labels = tuple[str, str]
"""By the model, and by the shadow."""


class ComparedImage(NamedTuple):
    """One image that both versions answered."""

    labels: Labels
    largest: float
    """Largest difference in the probability of one label."""
    of_predicted: float | None
    """Difference in the probability of the label that the model predicts; None if the shadow has none."""
    dropped: int
    """Images that had been dropped before."""
    failed: int
    """Images that had failed before."""


class Answers:
    """Counts of one pair. One thread counts; others may read meanwhile."""

    def __init__(self) -> None:
        self.counts: Counter[ShadowOutcome] = Counter({"compared": 0, "dropped": 0, "failed": 0})
        self.disagreements = 0
        self._pairs: Counter[Labels] = Counter()
        self._largest = 0.0
        self._sum_of_predicted, self._with_predicted = 0.0, 0
        self._last: deque[ComparedImage] = deque(maxlen=WINDOW)

    def add(self, labels: Labels, largest: float, of_predicted: float | None) -> None:
        """Count one image that both versions answered."""
        dropped, failed = self.counts["dropped"], self.counts["failed"]
        self._last.append(ComparedImage(labels, largest, of_predicted, dropped, failed))
        self._largest = max(self._largest, largest)
        if of_predicted is not None:
            self._sum_of_predicted += of_predicted
            self._with_predicted += 1
        if labels[0] != labels[1]:
            self.disagreements += 1
            if labels in self._pairs or len(self._pairs) < MOST_PAIRS:
                self._pairs[labels] += 1
        self.counts["compared"] += 1

    def of_all(self) -> ComparedAnswers:
        """Return what was seen of all images."""
        return _found(
            self.counts,
            self.disagreements,
            self._pairs.copy(),
            self._largest,
            self._sum_of_predicted / self._with_predicted if self._with_predicted else None,
        )

    def of_last(self) -> ComparedAnswers:
        """Return what was seen of the last images, and of those that were drawn since the first of them."""
        last = tuple(self._last)
        pairs = Counter(image.labels for image in last if image.labels[0] != image.labels[1])
        first = last[0] if last else None
        counts: dict[ShadowOutcome, int] = {
            "compared": len(last),
            "dropped": self.counts["dropped"] - (first.dropped if first else 0),
            "failed": self.counts["failed"] - (first.failed if first else 0),
        }
        known = [image.of_predicted for image in last if image.of_predicted is not None]
        return _found(
            counts,
            pairs.total(),
            pairs,
            max((image.largest for image in last), default=0.0),
            sum(known) / len(known) if known else None,
        )


def _found(
    counts: dict[ShadowOutcome, int], disagreements: int, pairs: Counter[Labels], largest: float, mean: float | None
) -> ComparedAnswers:
    shown = _most_frequent(pairs)
    return ComparedAnswers(
        compared=counts["compared"],
        dropped=counts["dropped"],
        failed=counts["failed"],
        agreements=counts["compared"] - disagreements,
        disagreements=share_of(disagreements, counts["compared"]),
        pairs=shown,
        other_pairs=disagreements - sum(pair.images for pair in shown),
        largest_difference=largest if counts["compared"] else None,
        mean_difference=mean,
    )


def _most_frequent(pairs: Counter[Labels]) -> list[LabelPair]:
    """Return the pairs that are shown, the most frequent first, and in the order of their names among equals."""
    ordered: Sequence[tuple[Labels, int]] = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [LabelPair(answered=one, shadow=other, images=images) for (one, other), images in ordered[:SHOWN_PAIRS]]
