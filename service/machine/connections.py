"""State that all connections of one server share: how many may be open, why some were closed, and the date."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter
from collections.abc import Collection
from email.utils import formatdate
from typing import Final, Literal, Protocol

log = logging.getLogger("contraflow.http")

CLOSED_PART = 32
"""When room is needed, one in so many connections is closed, so that the search for the idlest is rare."""

REFUSED_PART = 8
"""One in so many connections may be open in addition to the most, to be told that there are too many."""

SECONDS_BETWEEN_LINES = 10.0
"""Least time between two log lines about closed connections."""

SECONDS_UNTIL_NEXT_SEARCH = 0.1
"""Time after a search that found no connection to close."""

CutOff = Literal["idle", "made-room", "reads-nothing", "body-goes-on", "too-many-connections"]
"""Why a connection is closed without an answer. One that gets an answer is counted by the slug of its error."""


EVENTS: Final[tuple[CutOff, ...]] = ("made-room", "reads-nothing", "body-goes-on", "too-many-connections")
"""Reasons that the log names; closing an idle connection is no event."""


class Waiting(Protocol):
    """A connection that may be closed to make room for another."""

    @property
    def waiting_since(self) -> float | None:
        """Time since which it waits for a whole request; None while it has a request to answer."""

    @property
    def gone(self) -> bool:
        """True once it is closed and everything is written, even if it has not been taken off the list yet."""

    def end(self, reason: CutOff) -> None:
        """Close it."""


class Connections:
    """Only the thread of the event loop changes the state; any thread may read the counts."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.ended: Counter[str] = Counter()
        """Reason → connections closed for it; not those closed by the client, or after an answer that said so."""
        self.date = _date_line(time.time())
        self._full_until = 0.0
        self._reported: Counter[str] = Counter()
        self._reported_at = -SECONDS_BETWEEN_LINES

    @property
    def most_with_refused(self) -> int:
        """Most connections including refused ones, which stay open until their clients have had time to read why."""
        return self.most + self.most // REFUSED_PART

    def make_room(self, others: Collection[Waiting], now: float) -> bool:
        """Close those of `others` that have waited longest, if needed; return whether there is room for one more.

        A new connection is worth more than an idle one, because it will be used soon.
        """
        if now < self._full_until:
            return False
        needed = sum(not one.gone for one in others) - self.most + 1
        if needed <= 0:
            return True  # many arrive in one turn of the event loop, and room was made when the first of them came
        waiting = [(one.waiting_since, number, one) for number, one in enumerate(others)]
        longest = heapq.nsmallest(max(needed, self.most // CLOSED_PART), [one for one in waiting if one[0] is not None])
        for _, _, one in longest:
            one.end("made-room")
        enough = len(longest) >= needed
        self._full_until = 0.0 if enough else now + SECONDS_UNTIL_NEXT_SEARCH
        return enough

    def tick(self, now: float, open_now: int) -> None:
        """Update count and date; called about once a second, with the time of the monotonic clock."""
        self.open = open_now
        self.date = _date_line(time.time())
        if now - self._reported_at >= SECONDS_BETWEEN_LINES:
            self._report(now)

    def _report(self, now: float) -> None:
        """Log one line about all connections that were cut off since the last; one for each would fill the log.

        Those that got an answer have a line in the log of requests.
        """
        new = +Counter({reason: self.ended[reason] - self._reported[reason] for reason in EVENTS})
        if new:
            self._reported, self._reported_at = self.ended.copy(), now
            log.info("connections ended: %s", ", ".join(f"{number} {reason}" for reason, number in new.most_common()))


def _date_line(seconds: float) -> bytes:
    return b"date: %s\r\n" % formatdate(seconds, usegmt=True).encode()
