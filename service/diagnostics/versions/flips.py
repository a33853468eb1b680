"""Images whose answer changed from right to wrong or the other way round, counted one by one."""

from __future__ import annotations

from dataclasses import dataclass

from service.diagnostics.schemas.versions import FlipsFound
from service.diagnostics.versions.intervals import paired_difference, share_of
from service.diagnostics.versions.mcnemar import mcnemar


@dataclass
class Flips:
    """How many images both versions are right about, either, or none: everything that their accuracies rest on."""

    both_right: int = 0
    negative: int = 0
    """Right before, wrong now."""
    positive: int = 0
    """Wrong before, right now."""
    both_wrong: int = 0

    def take(self, *, right_before: bool, right_now: bool) -> None:
        """Count one more image."""
        self.both_right += right_before and right_now
        self.negative += right_before and not right_now
        self.positive += right_now and not right_before
        self.both_wrong += not (right_before or right_now)

    @property
    def images(self) -> int:
        return self.both_right + self.negative + self.positive + self.both_wrong

    @property
    def right_before(self) -> int:
        return self.both_right + self.negative

    @property
    def right_now(self) -> int:
        return self.both_right + self.positive

    def found(self) -> FlipsFound | None:
        """Return the counts with intervals and McNemar's test; None where no image was counted."""
        before, now = share_of(self.right_before, self.images), share_of(self.right_now, self.images)
        change = paired_difference(self.positive, self.negative, self.images)
        negative, positive = share_of(self.negative, self.images), share_of(self.positive, self.images)
        if before is None or now is None or change is None or negative is None or positive is None:
            return None
        return FlipsFound(
            images=self.images,
            accuracy_before=before,
            accuracy_now=now,
            accuracy_change=change,
            negative=negative,
            positive=positive,
            mcnemar=mcnemar(self.negative, self.positive),
        )
