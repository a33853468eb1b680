"""All connections of one server share this: how many there may be, the date, and what ended those cut off."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter
from collections.abc import Collection
from email.utils import formatdate
from typing import Literal, Protocol

log = logging.getLogger("contraflow.http")

AT_ONCE = 32
"""A 32nd of the connections is ended when room is needed: looking for the longest waiting is then rare."""

REFUSED = 8
"""An eighth more than the most may be there to be told so; those beyond are closed at once."""

SECONDS_BETWEEN_LINES = 10.0

SECONDS_WITHOUT_A_LOOK = 0.1
"""After one that found nobody to end."""

CutOff = Literal["idle", "made-room", "reads-nothing", "body-goes-on", "too-many-connections"]
"""Why a connection is ended without an answer that says so; those with one are counted by its slug."""


class Waiting(Protocol):
    """A connection, as far as room for another is concerned."""

    @property
    def waiting_since(self) -> float | None:
        """Since when it has waited for a whole request, with none to answer."""

    @property
    def gone(self) -> bool:
        """True once it is closed with nothing left to be read; it is still listed for a moment."""

    def end(self, reason: CutOff) -> None:
        """Closes it."""


class Connections:
    """The state is changed by the event loop's thread alone; any thread may read the counts."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.ended: Counter[str] = Counter()
        """The number ended for each reason, where that was not their client or the answer itself."""
        self.date = _date_line(time.time())
        self._full_until = 0.0
        self._reported: Counter[str] = Counter()
        self._reported_at = -SECONDS_BETWEEN_LINES

    @property
    def most_with_refused(self) -> int:
        """Refused ones included, which are closed only when their clients have had time to read why."""
        return self.most + self.most // REFUSED

    def make_room(self, others: Collection[Waiting], now: float) -> bool:
        """Ends those of `others` that have waited longest; whether there is room for one more then.

        A new connection has the better prospects: whoever has one makes use of it soon.
        """
        if now < self._full_until:
            return False
        needed = sum(not one.gone for one in others) - self.most + 1
        if needed <= 0:
            return True  # many arrive in one turn of the event loop, and room was made for the first of them
        waiting = [(one.waiting_since, number, one) for number, one in enumerate(others)]
        longest = heapq.nsmallest(max(needed, self.most // AT_ONCE), [one for one in waiting if one[0] is not None])
        for _, _, one in longest:
            one.end("made-room")
        enough = len(longest) >= needed
        self._full_until = 0.0 if enough else now + SECONDS_WITHOUT_A_LOOK
        return enough

    def tick(self, now: float, open_now: int) -> None:
        """Called about once a second, with the monotonic clock."""
        self.open = open_now
        self.date = _date_line(time.time())
        if now - self._reported_at >= SECONDS_BETWEEN_LINES:
            self._report(now)

    def _report(self, now: float) -> None:
        """One line about all that were cut off or refused since the last; one for each would fill the log."""
        new = self.ended - self._reported
        del new["idle"]
        if new:
            self._reported, self._reported_at = self.ended.copy(), now
            log.info("connections ended: %s", ", ".join(f"{number} {reason}" for reason, number in new.most_common()))


def _date_line(seconds: float) -> bytes:
    return b"date: %s\r\n" % formatdate(seconds, usegmt=True).encode()
