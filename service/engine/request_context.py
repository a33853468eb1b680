"""What one request carries through the service: its name, its deadline, its clock, and whoever waits for it."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Literal, Protocol

Stage = Literal["decode", "queue", "run", "serialize"]

STAGES: tuple[Stage, ...] = ("decode", "queue", "run", "serialize")
SERVER_TIMING = ", ".join([f"{stage};dur=%.3f" for stage in STAGES])


class Pending(Protocol):
    """Work on the way for a request, which can be given up."""

    def abandon(self, error: Exception) -> None: ...


class RequestContext:
    """One request, from its last body byte to the hand-over of its answer.

    The stages are contiguous: `account` gives the time since the last call to one stage, so their
    sum is the latency exactly. Only the event loop's thread touches a context.
    """

    __slots__ = (
        "_accounted", "_pending", "abandoned_by", "background", "client", "deadline", "id", "received", "stages",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str | None = None,
        client: object = None,
        seconds: float | None = None,
        *,
        background: bool = False,
    ) -> None:
        self.id = request_id or new_request_id()
        self.client = client
        self.background = background
        """Nobody waits for it: it runs when nothing else does, and is refused where anything waits."""
        self.received = self._accounted = time.monotonic()
        self.deadline: float | None = None if seconds is None else self.received + seconds
        """When the answer is worth nothing any more, on the monotonic clock."""
        self.stages: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self.abandoned_by: Exception | None = None
        self._pending: set[Pending] = set()

    def start_clock(self, seconds: float) -> None:
        """The last body byte is here: the clock starts, and with it the `seconds` that the caller will wait."""
        self.received = self._accounted = time.monotonic()
        self.deadline = self.received + seconds

    def account(self, stage: Stage, until: float | None = None) -> None:
        """Gives the time since the last call, up to `until` (now), to `stage`."""
        until = time.monotonic() if until is None else until
        self.stages[stage] += until - self._accounted
        self._accounted = until

    @property
    def latency(self) -> float:
        """Seconds from the last body byte to the last call of `account`, which is the hand-over of the answer."""
        return self._accounted - self.received

    def add(self, pending: Pending) -> None:
        """Has `pending` given up when the request is."""
        if self.abandoned_by is not None:
            pending.abandon(self.abandoned_by)
        self._pending.add(pending)

    def remove(self, pending: Pending) -> None:
        self._pending.discard(pending)

    def abandon(self, error: Exception) -> None:
        """Gives up all that is under way, and all that will be added; the first reason stands."""
        if self.abandoned_by is None:
            self.abandoned_by = error
            for pending in tuple(self._pending):
                pending.abandon(error)

    def server_timing(self) -> str:
        """The `Server-Timing` header, in milliseconds."""
        return SERVER_TIMING % tuple([1e3 * seconds for seconds in self.stages.values()])


_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)


def new_request_id() -> str:
    """Unique among the replicas of a service: eight random digits of this process, and a running number."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"
