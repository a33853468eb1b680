"""Units of work: a job of one request, its tickets, and batches of tickets that run together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedGraph
from service.contract.arrays import Array
from service.contract.runtime.runs import RunHandle
from service.engine.cutting import cut
from service.engine.request_context import GraphRun, RequestContext
from service.errors import InternalError

Outcome = dict[str, Array] | Exception
"""The outputs of a graph by name, or the reason why there are none."""


class Job:
    """All images that one request has run on one graph, in tickets (`cutting`)."""

    __slots__ = ("_on_outcome", "_request", "_unsettled", "tickets")

    def __init__(
        self,
        graph: ServedGraph,
        images: tuple[bytes, ...] | Array,
        labels: NDArray[np.int64] | None,
        on_outcome: Callable[[Outcome], None],
        request: RequestContext,
        idle_slots: int = 1,
        *,
        alone: bool = False,
        layer: int | None = None,
    ) -> None:
        """Cut the images into tickets, for so many idle slots; `alone` if all are idle.

        `layer` is where the runs end, of a graph that takes one. `on_outcome` is called once, on the event loop's
        thread, and must not raise.
        """
        self._on_outcome = on_outcome
        self._request = request
        self.tickets: list[Ticket] = []
        for part in cut(graph, len(images), idle_slots, alone=alone, layer=layer):
            labels_of_part = None if labels is None else labels[part]
            ticket = Ticket(
                graph, images[part], labels_of_part, self._settle, background=request.background, layer=layer
            )
            self.tickets.append(ticket)
        self._unsettled = len(self.tickets)

    def abandon(self, error: Exception) -> None:
        """Give up all tickets; the outcome is `error`."""
        if self.tickets:
            self._end(error)

    def _settle(self, _: Ticket, outcome: Outcome) -> None:
        self._unsettled -= 1
        if not self.tickets:
            return  # another one failed before
        if isinstance(outcome, Exception):
            self._end(outcome)
        elif not self._unsettled:
            self._end(outcome if len(self.tickets) == 1 else _joined(self.tickets))

    def _end(self, outcome: Outcome) -> None:
        tickets, self.tickets = self.tickets, []  # no cycle is left to the garbage collector
        self._request.remove(self)
        for ticket in tickets:
            if not ticket.settled:
                ticket.abandon(InternalError("The rest of the request failed."))
        # Contiguous stages since the submission: queued until the first ticket was taken, then decoding, then running.
        request, first = self._request, tickets[0]
        if first.taken:
            request.account("queue", first.taken)
        if first.decoded:
            request.account("decode", first.decoded)
            request.account("run", max([first.decoded, *[ticket.finished for ticket in tickets]]))
        request.account("queue")
        request.runs.extend([ticket.run for ticket in tickets if ticket.batch is not None])
        self._on_outcome(outcome)


def _joined(tickets: Sequence[Ticket]) -> dict[str, Array]:
    parts = [ticket.outcome for ticket in tickets if isinstance(ticket.outcome, dict)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Ticket:
    """Images of one request that run together on one graph.

    `images` is a tuple of encoded files (decoded by the slot), uint8 pixels [n, h, w, c], or the float32 tensor
    itself; `labels` are int64, −1 for as predicted (`contract.label_kinds`); `layer` is where the run ends, of a graph
    that takes one.
    """

    __slots__ = (
        "background", "batch", "cost", "count", "decoded", "finished", "forget", "graph", "images",
        "labels", "layer", "on_outcome", "outcome", "settled", "submitted", "taken",
    )  # fmt: skip

    def __init__(
        self,
        graph: ServedGraph,
        images: tuple[bytes, ...] | Array,
        labels: NDArray[np.int64] | None,
        on_outcome: Callable[[Ticket, Outcome], None],
        *,
        background: bool = False,
        layer: int | None = None,
    ) -> None:
        """`on_outcome` is called once, on the event loop's thread, and must not raise."""
        self.graph, self.layer = graph, layer
        self.background = background
        self.images: tuple[bytes, ...] | Array | None = images
        self.labels = labels
        self.count = len(images)
        self.on_outcome = on_outcome
        self.cost = self.count * graph.seconds_at(layer)
        self.submitted = self.taken = self.decoded = self.finished = 0.0
        self.batch: Batch | None = None
        self.outcome: Outcome | None = None
        self.settled = False
        """True once the outcome was handed over; a run that is not over has nobody waiting for it then."""
        self.forget: Callable[[Ticket], None] = lambda ticket: None

    @property
    def run(self) -> GraphRun:
        """The run of a ticket that was taken."""
        assert self.batch is not None
        return GraphRun(
            self.graph.model, self.graph.name, self.count, self.batch.count,
            self.submitted, self.taken, self.decoded, self.finished,
        )  # fmt: skip

    def abandon(self, error: Exception) -> None:
        """Leave the queue, or stop the run if nobody else waits for it; the outcome is `error`."""
        waited_for, self.settled = not self.settled, True
        self.forget(self)
        if self.batch is not None:
            self.batch.stop_if_deserted()
        if waited_for:
            self.on_outcome(self, error)

    def deliver(self) -> None:
        """Hand over the outcome of the run, if there is one and somebody waits for it."""
        if self.outcome is not None and not self.settled:
            self.settled = True
            self.on_outcome(self, self.outcome)


class Batch:
    """Tickets of one graph, down to the same layer if it takes one, that run together."""

    __slots__ = ("began", "beside_wide", "count", "expected_end", "graph", "handle", "layer", "ran", "tickets")

    def __init__(
        self,
        graph: ServedGraph,
        tickets: list[Ticket],
        now: float,
        *,
        wide: bool = False,
        beside_wide: bool = False,
    ) -> None:
        """Take `tickets`, for a run on one core, or on several if it is `wide`; `beside_wide` if another one is."""
        self.graph, self.layer = graph, tickets[0].layer
        self.tickets = tickets
        self.count = sum([ticket.count for ticket in tickets])
        self.ran = 0
        """Number of images that reached the graph: decodable, and still waited for."""
        self.handle = RunHandle(wide=wide)
        self.began = now
        self.beside_wide = beside_wide
        seconds = graph.wide.seconds if wide and graph.wide is not None else graph.seconds_per_image
        self.expected_end = now + self.count * seconds * graph.part_of_time(self.layer)
        for ticket in tickets:
            ticket.batch = self
            ticket.taken = now

    @property
    def wide(self) -> bool:
        """True if its run takes several cores."""
        return self.handle.wide

    @property
    def tells_speed(self) -> bool:
        """True if its time says how fast the graph is on a core of its own."""
        return bool(self.ran) and not (self.handle.stopped or self.wide or self.beside_wide)

    def expected_rest(self, now: float) -> float:
        """Return the seconds until the run ends; an overdue one is expected to take a quarter longer."""
        return max(self.expected_end - now, 0.25 * (now - self.began))

    def stop_if_deserted(self) -> None:
        if all(ticket.settled for ticket in self.tickets):
            self.handle.stop()

    def deliver(self) -> None:
        tickets, self.tickets = self.tickets, []  # no cycle is left to the garbage collector
        for ticket in tickets:
            ticket.deliver()
