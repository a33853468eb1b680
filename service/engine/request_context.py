"""The id, deadline, clock and pending work of one request."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Literal, NamedTuple, Protocol

from service.engine.trace_context import TraceContext

Stage = Literal["decode", "queue", "run", "serialize"]

STAGES: tuple[Stage, ...] = ("decode", "queue", "run", "serialize")
SERVER_TIMING = ", ".join([f"{stage};dur=%.3f" for stage in STAGES])


class Pending(Protocol):
    """Work for a request that can be given up."""

    def abandon(self, error: Exception) -> None: ...


class GraphRun(NamedTuple):
    """One run of a graph that worked for a request; times are on the monotonic clock, 0 for what did not happen."""

    model: str
    """The model that ran, as "name@version"."""
    graph: str
    images: int
    """Images of this request in the run."""
    batch: int
    """Images of all requests in the run."""
    submitted: float
    taken: float
    decoded: float
    finished: float


class Decoding(NamedTuple):
    """Images of a request decoded ahead of its runs; times are on the monotonic clock."""

    images: int
    began: float
    ended: float


class RequestContext:
    """One request, from the last byte of its body to the hand-over of its answer.

    The stages are contiguous: `account` adds the time since the last call to one stage, so their sum is exactly the
    latency. Only the event loop's thread touches a context.
    """

    __slots__ = (
        "_accounted", "_pending", "abandoned_by", "background", "caller", "client", "deadline", "decodings", "id",
        "model", "received", "runs", "stages", "top_labels", "trace",
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
        """Host and port of whoever sent it; the same object for all requests of one client on one connection."""
        self.caller = ""
        """Name of the API key that it came with; empty where no key is needed, or the key has no name."""
        self.background = background
        """True if nobody waits for it: it runs when nothing else does, and is refused if anything waits."""
        self.received = self._accounted = time.monotonic()
        self.deadline: float | None = None if seconds is None else self.received + seconds
        """When the answer becomes worthless, on the monotonic clock."""
        self.stages: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self.model = ""
        """The model chosen for it, as "name@version", or several with commas; empty before, and where there is none."""
        self.runs: list[GraphRun] = []
        self.decodings: list[Decoding] = []
        self.trace: TraceContext | None = None
        """The caller's span, if it sent one; the request's own span, if that is recorded."""
        self.top_labels: tuple[str, ...] = ()
        """The most probable label of each image, where they are kept for the log."""
        self.abandoned_by: Exception | None = None
        self._pending: set[Pending] = set()

    def start_clock(self, seconds: float) -> None:
        """Start the clock at the last byte of the body, and with it the `seconds` that the caller will wait."""
        self.received = self._accounted = time.monotonic()
        self.deadline = self.received + seconds

    def account(self, stage: Stage, until: float | None = None) -> None:
        """Add the time since the last call, up to `until` (default: now), to `stage`."""
        until = time.monotonic() if until is None else until
        self.stages[stage] += until - self._accounted
        self._accounted = until

    @property
    def latency(self) -> float:
        """Seconds from the last body byte to the last call of `account`, which is the hand-over of the answer."""
        return self._accounted - self.received

    def add(self, pending: Pending) -> None:
        """Have `pending` given up when the request is."""
        if self.abandoned_by is not None:
            pending.abandon(self.abandoned_by)
        else:
            self._pending.add(pending)

    def remove(self, pending: Pending) -> None:
        self._pending.discard(pending)

    def abandon(self, error: Exception) -> None:
        """Give up all pending work, and work that is added later; the first reason stands."""
        if self.abandoned_by is None:
            self.abandoned_by = error
            for pending in tuple(self._pending):
                pending.abandon(error)

    def ids(self) -> dict[str, str]:
        """Return what a log line about this request has as its `extra`."""
        return {"request_id": self.id, "trace_id": "" if self.trace is None else self.trace.trace_id}

    def server_timing(self) -> str:
        """Return the `Server-Timing` header, in milliseconds."""
        return SERVER_TIMING % tuple([1e3 * seconds for seconds in self.stages.values()])


_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)


def new_request_id() -> str:
    """Return an id that is unique among replicas: eight random digits of this process and a counter."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"
