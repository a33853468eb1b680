"""The soak's log: everything that was seen, and every promise that was not kept."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.manners import GIVEN_UP
from tests.soak.requests import Kind

MEMORY_COUNTS_FROM = 50_000
"""Memory is judged from so many requests on: before, threads and graphs still take what they need once."""
GROWTH_LIMIT = 0.05


@dataclass
class Log:
    """Everything that the soak saw."""

    kinds: Sequence[Kind]
    sent: Counter[str] = field(default_factory=Counter)
    """Requests by kind."""
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Answers by kind and status; 0 is no answer."""
    wrong: list[str] = field(default_factory=list)
    """Answers with status 200 that were not the stored ones."""
    stored: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    """Changes of the folder that the service followed, by name."""
    missed: list[str] = field(default_factory=list)
    """Changes of the folder that the service did not follow."""
    resident: list[float] = field(default_factory=list)
    """Megabytes, read a hundred times over the soak."""
    idle: float = 0.0
    """Megabytes after the start, before the first request."""
    descriptors: tuple[int, int] = (0, 0)
    outcomes: Counter[str] = field(default_factory=Counter)
    """The service's own counts since the soak began."""
    images_per_failing_run: float = 0.0
    log_lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Relative growth of the median resident memory from the second fifth of the soak to the last."""
        fifth = max(1, len(self.resident) // 5)
        early, late = self.resident[fifth : 2 * fifth] or self.resident, self.resident[-fifth:]
        return statistics.median(late) / statistics.median(early) - 1

    @property
    def judges_memory(self) -> bool:
        return self.answers.total() >= MEMORY_COUNTS_FROM

    def answered_with(self, statuses: range) -> int:
        """Return how many answers had one of `statuses`."""
        return sum(count for (_, status), count in self.answers.items() if status in statuses)

    def faults(self) -> list[str]:
        """Return every promise that was not kept, in words."""
        checks = {**self._answered(), **self._counted(), **self._left_behind()}
        return [words for words, kept in checks.items() if not kept]

    def _answered(self) -> dict[str, bool]:
        right = {kind.name: kind.statuses for kind in self.kinds}
        strange = {key: count for key, count in self.answers.items() if key[1] not in right[key[0]]}
        sent, answered = self.sent.total(), self.answers.total()
        return {
            f"unexpected answers {strange}": not strange,
            f"{len(self.wrong)} wrong answers, first {self.wrong[:3]}": not self.wrong,
            f"{answered} answers to {sent} requests": answered == sent,
        }

    def _counted(self) -> dict[str, bool]:
        """Compare the service's counts with ours. What was cancelled may have been answered, or never been read."""
        cancelled = sum(self.sent[kind.name] for kind in self.kinds if kind.manner in GIVEN_UP)
        no_request = sum(self.sent[kind.name] for kind in self.kinds if kind.manner == "half a head")
        answered, failed = self.answered_with(range(200, 300)), self.answered_with(range(500, 501))
        refused = self.answered_with(range(400, 500)) + self.answered_with(range(503, 504)) - no_request
        counts = self.outcomes
        perhaps = f"(and perhaps some of {cancelled} cancelled)"
        return {
            f"metrics count {counts['failed']} failed, client {failed}": counts["failed"] == failed,
            f"metrics count {counts['refused']} refused, client {refused}": counts["refused"] == refused,
            f"metrics count {counts['answered']} answered, client {answered} {perhaps}": answered
            <= counts["answered"]
            <= answered + cancelled,
            f"metrics count {counts.total()} of {self.sent.total()} requests": counts.total() <= self.sent.total(),
        }

    def _left_behind(self) -> dict[str, bool]:
        before, after = self.descriptors
        return {
            f"changes of the folder were not followed: {self.missed}": not self.missed,
            f"descriptors grew from {before} to {after}": after <= before,
            f"memory grew by {self.growth:.1%}": not self.judges_memory or self.growth <= GROWTH_LIMIT,
            f"{len(self.log_lines)} unexpected lines in the log, first {self.log_lines[:2]}": not self.log_lines,
        }
