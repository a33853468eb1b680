"""The queue between requests and run slots: it decides which tickets run next, and which run together.

A free slot takes whatever waits at once, up to the graph's best batch size (and the largest that is recorded, on a
GPU). There is no delay to tune: an idle server adds none, and a busy one forms batches by being busy. Predictions go
before diagnostics, and both before what runs in the background, which is stopped if it would hold them up for long;
among equals the graph with the least run time so far
goes first. While predictions keep coming, one slot is kept free of diagnostics for the next one. A request that would
be late is refused on arrival, and one that is given up leaves the queue at once.

`submit`, `wake` and `forget` are for the event loop's thread, `take` and `finish` for the slots' threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from service.bundles.served_model import ServedGraph
from service.engine.cutting import runs_wide
from service.engine.tickets import Batch, Ticket
from service.errors import QueueFull, TooBusy

LONGEST_DIAGNOSTICS_WAIT = 1.0
"""Seconds after which a diagnosis gets a turn even while predictions keep coming."""

KEPT_FREE = 1.0
"""Seconds after a prediction during which one slot is kept free of diagnostics."""

MOST_HELD_UP = 5.0
"""Runs of a request's own graph, of one image, for which work in the background may hold it up.

A backward pass takes four to five forward runs.
"""

MARGIN = 1.5
"""Factor on predicted waits, so that accepted requests meet their deadline.

It costs no throughput, since the queue of an overloaded service stays nearly full.
"""


LaneKey = tuple[ServedGraph, int | None, bool]
"""A graph, the layer where its runs end if it takes one, and whether they are in the background."""


class Lane:
    """Tickets that may run together, and the run time they have had: those of one key."""

    __slots__ = ("background", "graph", "key", "served", "tickets", "waiting")

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.graph, _, self.background = key
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
        self._lanes: dict[LaneKey, Lane] = {}
        self._running: set[Batch] = set()
        self._wide: Batch | None = None
        """The run that has every core; it began when no other ran."""
        self._idle_slots = 0
        self._last_prediction = self._last_but_one = float("-inf")
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def submit(self, tickets: Sequence[Ticket], deadline: float | None) -> None:
        """Queue all `tickets` (of one graph), or none. Call `wake` once everything that arrived together is queued.

        Raises:
            QueueFull: too many images are waiting; for the background, if any waits or no slot is free.
            TooBusy: they would be answered after `deadline` (monotonic clock).
        """
        graph = tickets[0].graph
        images = sum([ticket.count for ticket in tickets])
        with self._changed:
            now = time.monotonic()
            if tickets[0].background and not self._is_idle():
                raise QueueFull("The service is busy.")
            most = self.max_images - images
            if self.waiting_images > most and self._awaited_images > most:
                raise QueueFull(
                    f"{self._awaited_images} images are waiting; the limit is {self.max_images}.",
                    retry_after=self._wait_before(graph.diagnostic, now),
                )
            if deadline is not None:
                self._refuse_if_late(graph, sum([ticket.cost for ticket in tickets]), deadline, now)
            if not graph.diagnostic and not tickets[0].background:
                self._last_but_one, self._last_prediction = self._last_prediction, now
            lane = self._lane_of(tickets[0]) or self._new_lane(tickets[0])
            for ticket in tickets:
                ticket.submitted = now
                ticket.forget = self.forget
                lane.tickets.append(ticket)
                self._count(lane, ticket, +1)

    def wake(self) -> None:
        """Let idle slots look at the queue."""
        with self._changed:
            if self.waiting_images and self._idle_slots:
                self._changed.notify(min(self._idle_slots, self.waiting_images))

    def take(self) -> Batch | None:
        """Wait for the next batch and return it; None once the scheduler is closed and empty."""
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
        """Return `ticket` as a batch if it is alone in the whole service, so that it can run without a hand-over."""
        with self._changed:
            if self._running or self.waiting_images != ticket.count:
                return None
            return self._next_batch()

    def finish(self, batch: Batch) -> None:
        """Free the slot, and adjust the estimates by the time that the run took."""
        with self._changed:
            self._running.discard(batch)
            if batch is self._wide:
                self._wide = None
            seconds = time.monotonic() - batch.began
            lane = self._lane_of(batch.tickets[0])
            if lane is not None:
                lane.served += seconds
                if not lane.waiting and (lane.graph.retired or batch.layer is not None):  # there may be many layers
                    del self._lanes[lane.key]
            if batch.tells_speed:
                batch.graph.learn(batch.ran, seconds, batch.layer)
            if batch.graph.diagnostic and self.waiting_images and self._idle_slots:
                self._changed.notify()  # a slot that was kept free may not have to be any more

    def forget(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue, if it is still there."""
        with self._changed:
            lane = self._lane_of(ticket)
            if ticket.batch is None and lane is not None and ticket in lane.tickets:
                lane.tickets.remove(ticket)
                ticket.images = None
                self._count(lane, ticket, -1)

    def in_the_way_of(self, graph: ServedGraph) -> list[Ticket]:
        """Return what runs in the background on a slot that `graph` waits for, and would hold it up for long."""
        with self._changed:
            if len(self._running) < self.slots:
                return []
            now, longest = time.monotonic(), MOST_HELD_UP * graph.seconds_per_image
            slow = [batch for batch in self._running if batch.background and batch.expected_rest(now) > longest]
            return [ticket for batch in slow for ticket in batch.tickets]

    def close(self) -> None:
        """Let the slots end once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle(self) -> bool:
        """True if a slot is free, nothing waits for it, and no run has every core."""
        with self._changed:
            return self._is_idle()

    def idle_slots_for(self, diagnostic: bool) -> int:
        """Return how many slots would take a request of that kind at once; 0 while others wait.

        A slot that runs one image in the background counts: it is free again before the others are done.
        """
        with self._changed:
            if self.waiting_images and self._awaited_images:
                return 0
            free = self.slots - sum([not batch.background for batch in self._running])
            return max(0, min(free, self._slots_for(diagnostic, time.monotonic()) - self._diagnosing * diagnostic))

    def expected_wait(self, diagnostic: bool) -> float:
        """Return the seconds until a new request of that kind would begin to run."""
        with self._changed:
            return self._wait_before(diagnostic, time.monotonic())

    def _is_idle(self) -> bool:
        return not self.waiting_images and len(self._running) < self.slots and self._wide is None

    @property
    def _awaited_images(self) -> int:
        """Images that wait, but for those in the background: no request makes room for them, but they do for it."""
        return self.waiting_images - sum([lane.waiting for lane in self._lanes.values() if lane.background])

    def _lane_of(self, ticket: Ticket) -> Lane | None:
        return self._lanes.get(_key_of(ticket))

    def _new_lane(self, ticket: Ticket) -> Lane:
        for idle in [lane for lane in self._lanes.values() if lane.graph.retired and not lane.tickets]:
            del self._lanes[idle.key]
        key = _key_of(ticket)
        lane = self._lanes[key] = Lane(key)
        lane.served = min((other.served for other in self._lanes.values() if other is not lane), default=0.0)
        return lane

    def _count(self, lane: Lane, ticket: Ticket, sign: int) -> None:
        lane.waiting += sign * ticket.count
        self.waiting_images += sign * ticket.count
        if not lane.background:  # nothing waits for what runs behind it
            self._backlog[lane.graph.diagnostic] += sign * ticket.cost
        if not self.waiting_images:
            self._backlog = {False: 0.0, True: 0.0}  # no drift of rounding

    def _slots_for(self, diagnostic: bool, now: float) -> int:
        """Return how many slots may run such graphs at a time."""
        predictions_come = now - self._last_prediction < KEPT_FREE
        return max(1, self.slots - 1) if diagnostic and predictions_come else self.slots

    def _wait_before(self, diagnostic: bool, now: float) -> float:
        slots = self._slots_for(diagnostic, now)
        ahead = self._backlog[False] + (self._backlog[True] if diagnostic else 0.0)
        awaited = [batch for batch in self._running if not batch.background]  # the others end soon, or are stopped
        ahead += sum([batch.expected_rest(now) for batch in awaited])
        return ahead / slots if len(awaited) >= slots or self.waiting_images else 0.0

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
        drawn = self._draw(lane)
        wide = lane.graph.wide is not None and self._is_wide(drawn, now)
        batch = Batch(lane.graph, drawn, now, wide=wide, beside_wide=self._wide is not None)
        if wide:
            self._wide = batch
        self._running.add(batch)
        return batch

    def _is_wide(self, drawn: Sequence[Ticket], now: float) -> bool:
        """Return whether a run takes every core: it is better for it, and nothing else runs or waits.

        Nor does a diagnosis while predictions keep coming. One prediction right before it, as a page sends, is no more.
        """
        graph, images = drawn[0].graph, sum([ticket.count for ticket in drawn])
        nothing_else = not self._running and not self.waiting_images and not drawn[0].background
        gives_way = graph.diagnostic and now - self._last_but_one < KEPT_FREE
        return runs_wide(graph, images) and nothing_else and not gives_way and self.slots > 1

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
        """Slots that run diagnoses that somebody waits for."""
        return sum([batch.graph.diagnostic and not batch.background for batch in self._running])

    def _overdue(self, lane: Lane, now: float) -> bool:
        return not self._diagnosing and now - lane.tickets[0].submitted > LONGEST_DIAGNOSTICS_WAIT

    def _draw(self, lane: Lane) -> list[Ticket]:
        """Take tickets from the head, up to the most images of a run, and leave a share to every other idle slot."""
        share = -(-lane.waiting // (self._idle_slots + 1)) if self._idle_slots else lane.waiting
        limit = min(lane.graph.most_images, share)
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


def _key_of(ticket: Ticket) -> LaneKey:
    return ticket.graph, ticket.layer, ticket.background
