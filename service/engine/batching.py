"""Who runs next, with whom: the queue between requests and run slots.

A slot that is free takes whatever waits at once, up to the graph's best batch size: there is no
delay to tune, an idle server adds none and a busy one forms batches by being busy. Predictions go
before diagnostics, and both before what runs in the background; among equals the graph that has had
the least run time goes first. While predictions keep coming, one slot is kept free of diagnostics for
the next. What would be late is refused on arrival, what is given up leaves the queue at once.

`submit`, `wake` and `forget` are for the event loop's thread, `take` and `finish` for the slots'.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.registry import ServedGraph
from service.contract.runtime import RunHandle
from service.errors import QueueFull, TooBusy

Array = NDArray[Any]
Outcome = dict[str, Array] | Exception
"""What a graph gave for the images of one ticket, or why it gave nothing."""

LONGEST_DIAGNOSTICS_WAIT = 1.0
"""Seconds after which a diagnosis has a turn although predictions never cease."""

KEPT_FREE = 1.0
"""Seconds after a prediction in which the last slot that is free of diagnostics stays so."""

MARGIN = 1.5
"""Predicted waits are multiplied by it: who is accepted should be in time.

It costs no throughput, since the queue of an overloaded service stays as good as full.
"""


class Ticket:
    """Images of one request that run together on one graph.

    `images` is a tuple of encoded files (decoded by the slot), uint8 pixels [n, h, w, c] or the
    float32 tensor itself; `labels` int64 [n], −1 for the predicted class.
    """

    __slots__ = (
        "answer", "background", "batch", "cost", "count", "decoded", "finished", "forget", "graph", "images",
        "labels", "outcome", "settled", "submitted", "taken",
    )  # fmt: skip

    def __init__(
        self,
        graph: ServedGraph,
        images: tuple[bytes, ...] | Array,
        labels: NDArray[np.int64] | None,
        answer: Callable[[Ticket, Outcome], None],
        *,
        background: bool = False,
    ) -> None:
        """`answer` is called once, on the event loop's thread, and must not raise."""
        self.graph = graph
        self.background = background
        self.images: tuple[bytes, ...] | Array | None = images
        self.labels = labels
        self.count = len(images)
        self.answer = answer
        self.cost = self.count * graph.seconds_per_image
        self.submitted = self.taken = self.decoded = self.finished = 0.0
        self.batch: Batch | None = None
        self.outcome: Outcome | None = None
        self.settled = False
        """Whether it has been answered; if its run is not over, nobody waits for it any more."""
        self.forget: Callable[[Ticket], None] = lambda ticket: None

    def abandon(self, error: Exception) -> None:
        """Nobody waits any more: leaves the queue, or stops the run if nobody else waits for it either."""
        waited_for, self.settled = not self.settled, True
        self.forget(self)
        if self.batch is not None:
            self.batch.stop_if_deserted()
        if waited_for:
            self.answer(self, error)

    def deliver(self) -> None:
        """Answers with the outcome of the run, if there is one and somebody waits for it."""
        if self.outcome is not None and not self.settled:
            self.settled = True
            self.answer(self, self.outcome)


class Batch:
    """Tickets of one graph that run at once."""

    __slots__ = ("began", "count", "expected_end", "graph", "handle", "ran", "tickets")

    def __init__(self, graph: ServedGraph, tickets: list[Ticket], now: float) -> None:
        self.graph = graph
        self.tickets = tickets
        self.count = sum([ticket.count for ticket in tickets])
        self.ran = 0
        """Images that came as far as the graph: decodable, and still waited for."""
        self.handle = RunHandle()
        self.began = now
        self.expected_end = now + self.count * graph.seconds_per_image
        for ticket in tickets:
            ticket.batch = self
            ticket.taken = now

    def expected_rest(self, now: float) -> float:
        """Seconds until the run is through; one that is overdue is expected to take a quarter longer yet."""
        return max(self.expected_end - now, 0.25 * (now - self.began))

    def stop_if_deserted(self) -> None:
        if all(ticket.settled for ticket in self.tickets):
            self.handle.stop()

    def deliver(self) -> None:
        tickets, self.tickets = self.tickets, []  # no cycle is left to the garbage collector
        for ticket in tickets:
            ticket.deliver()


class Lane:
    """What waits for one graph, in the background or not, and how much run time it has had."""

    __slots__ = ("background", "graph", "served", "tickets", "waiting")

    def __init__(self, graph: ServedGraph, background: bool) -> None:
        self.graph = graph
        self.background = background
        self.tickets: deque[Ticket] = deque()
        self.waiting = 0
        self.served = 0.0


class Scheduler:
    """The queue, shared by the event loop and `slots` run threads."""

    def __init__(self, slots: int, max_images: int) -> None:
        self.slots = slots
        self.max_images = max_images
        self.waiting_images = 0
        self._backlog = {False: 0.0, True: 0.0}
        """Seconds of run time that wait, for predictions (False) and diagnostics (True)."""
        self._lanes: dict[tuple[ServedGraph, bool], Lane] = {}
        """By graph, and whether in the background."""
        self._running: set[Batch] = set()
        self._idle_slots = 0
        self._last_prediction = float("-inf")
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def submit(self, tickets: Sequence[Ticket], deadline: float | None) -> None:
        """Queues all `tickets` (of one graph), or none; call `wake` when nothing more comes at this moment.

        Raises:
            QueueFull: there are too many images waiting; in the background, any at all, or no slot is free.
            TooBusy: they would be answered after `deadline` (monotonic clock).
        """
        graph = tickets[0].graph
        images = sum([ticket.count for ticket in tickets])
        with self._changed:
            now = time.monotonic()
            if tickets[0].background and not self._is_idle():
                raise QueueFull("The service is busy.", retry_after=1.0)
            if self.waiting_images + images > self.max_images:
                raise QueueFull(
                    f"{self.waiting_images} images are waiting; the limit is {self.max_images}.",
                    retry_after=self._wait_before(graph.diagnostic, now),
                )
            if deadline is not None:
                self._refuse_if_late(graph, sum([ticket.cost for ticket in tickets]), deadline, now)
            if not graph.diagnostic:
                self._last_prediction = now
            lane = self._lane_of(tickets[0]) or self._new_lane(tickets[0])
            for ticket in tickets:
                ticket.submitted = now
                ticket.forget = self.forget
                lane.tickets.append(ticket)
                self._count(lane, ticket, +1)

    def wake(self) -> None:
        """Lets idle slots look at the queue."""
        with self._changed:
            if self.waiting_images and self._idle_slots:
                self._changed.notify(min(self._idle_slots, self.waiting_images))

    def take(self) -> Batch | None:
        """The next batch, waited for; None once the scheduler is closed and empty."""
        with self._changed:
            while True:
                batch = self._next_batch()
                if batch is not None:
                    return batch
                if self._closed:
                    return None
                self._idle_slots += 1
                self._changed.wait()
                self._idle_slots -= 1

    def take_only(self, ticket: Ticket) -> Batch | None:
        """`ticket` as a batch if it is alone in the whole service, for a run without any hand-over."""
        with self._changed:
            if self._running or self.waiting_images != ticket.count:
                return None
            return self._next_batch()

    def finish(self, batch: Batch) -> None:
        """The slot is free again; what the run took adjusts the estimates."""
        with self._changed:
            self._running.discard(batch)
            seconds = time.monotonic() - batch.began
            lane = self._lane_of(batch.tickets[0])
            if lane is not None:
                lane.served += seconds
                if not lane.waiting and lane.graph.retired:
                    del self._lanes[lane.graph, lane.background]
            if batch.ran and not batch.handle.stopped:
                batch.graph.learn(batch.ran, seconds)
            if batch.graph.diagnostic and self.waiting_images and self._idle_slots:
                self._changed.notify()  # a slot that was kept free may not have to be any more

    def forget(self, ticket: Ticket) -> None:
        """Takes a ticket out of the queue, if it is still there."""
        with self._changed:
            lane = self._lane_of(ticket)
            if ticket.batch is None and lane is not None and ticket in lane.tickets:
                lane.tickets.remove(ticket)
                ticket.images = None
                self._count(lane, ticket, -1)

    def close(self) -> None:
        """Lets the slots end once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Whether a slot is free and nothing waits for it."""
        with self._changed:
            return self._is_idle()

    def expected_wait(self, diagnostic: bool) -> float:
        """Seconds until a new request of that kind would begin to run."""
        with self._changed:
            return self._wait_before(diagnostic, time.monotonic())

    def _is_idle(self) -> bool:
        return not self.waiting_images and len(self._running) < self.slots

    def _lane_of(self, ticket: Ticket) -> Lane | None:
        return self._lanes.get((ticket.graph, ticket.background))

    def _new_lane(self, ticket: Ticket) -> Lane:
        for idle in [lane for lane in self._lanes.values() if lane.graph.retired and not lane.tickets]:
            del self._lanes[idle.graph, idle.background]
        lane = self._lanes[ticket.graph, ticket.background] = Lane(ticket.graph, ticket.background)
        lane.served = min((other.served for other in self._lanes.values() if other is not lane), default=0.0)
        return lane

    def _count(self, lane: Lane, ticket: Ticket, sign: int) -> None:
        lane.waiting += sign * ticket.count
        self.waiting_images += sign * ticket.count
        self._backlog[lane.graph.diagnostic] += sign * ticket.cost
        if not self.waiting_images:
            self._backlog = {False: 0.0, True: 0.0}  # no drift of rounding

    def _slots_for(self, diagnostic: bool, now: float) -> int:
        """How many slots may run such graphs at a time."""
        predictions_come = now - self._last_prediction < KEPT_FREE
        return max(1, self.slots - 1) if diagnostic and predictions_come else self.slots

    def _wait_before(self, diagnostic: bool, now: float) -> float:
        slots = self._slots_for(diagnostic, now)
        ahead = self._backlog[False] + (self._backlog[True] if diagnostic else 0.0)
        ahead += sum([batch.expected_rest(now) for batch in self._running])
        return ahead / slots if len(self._running) >= slots or self.waiting_images else 0.0

    def _refuse_if_late(self, graph: ServedGraph, cost: float, deadline: float, now: float) -> None:
        wait = self._wait_before(graph.diagnostic, now) * MARGIN
        if wait > 0 and now + wait + cost > deadline:
            raise TooBusy(
                f"The answer may take {wait + cost:.3f} s; the deadline is in {max(0.0, deadline - now):.3f} s.",
                retry_after=wait + cost - (deadline - now),
            )

    def _next_batch(self) -> Batch | None:
        if not self.waiting_images:
            return None
        now = time.monotonic()
        lane = self._choose_lane(now)
        if lane is None:
            return None
        batch = Batch(lane.graph, self._draw(lane), now)
        self._running.add(batch)
        return batch

    def _choose_lane(self, now: float) -> Lane | None:
        waiting = [lane for lane in self._lanes.values() if lane.tickets]
        if self._diagnosing >= self._slots_for(True, now):
            waiting = [lane for lane in waiting if not lane.graph.diagnostic]
            if not waiting:
                return None
        if len(waiting) == 1:
            return waiting[0]
        floor = min([lane.served for lane in waiting])
        for lane in self._lanes.values():  # nobody saves up turns while idle
            if not lane.tickets:
                lane.served = max(lane.served, floor)
        awaited = [lane for lane in waiting if not lane.background]
        overdue = [lane for lane in awaited if lane.graph.diagnostic and self._overdue(lane, now)]
        predictions = [lane for lane in awaited if not lane.graph.diagnostic]
        return min(overdue or predictions or awaited or waiting, key=lambda lane: lane.served)

    @property
    def _diagnosing(self) -> int:
        """Slots that run graphs for diagnostics."""
        return sum([batch.graph.diagnostic for batch in self._running])

    def _overdue(self, lane: Lane, now: float) -> bool:
        return not self._diagnosing and now - lane.tickets[0].submitted > LONGEST_DIAGNOSTICS_WAIT

    def _draw(self, lane: Lane) -> list[Ticket]:
        """Tickets from the head, up to the best batch, leaving its part to every other idle slot."""
        share = -(-lane.waiting // (self._idle_slots + 1)) if self._idle_slots else lane.waiting
        limit = min(lane.graph.best_batch, share)
        drawn: list[Ticket] = []
        images = 0
        while lane.tickets and (not drawn or images + lane.tickets[0].count <= limit):
            ticket = lane.tickets.popleft()
            self._count(lane, ticket, -1)
            drawn.append(ticket)
            images += ticket.count
            if lane.graph.exclusive:
                break
        return drawn
