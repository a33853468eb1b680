"""Runs graphs for requests: `run` awaits the outputs for exactly these images, `submit` has them delivered by callback.

Run slots are threads that each take a batch, decode what is small, run it, and wake the event loop once for all its
tickets. If a short request finds the service empty, and comes from the client that also sent the one before it, it
runs on the event loop itself: that takes less time than handing it over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedGraph, ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName
from service.engine.cutting import runs_wide, shares_out
from service.engine.execution import RunSlots
from service.engine.ledger import Ledger
from service.engine.request_context import RequestContext
from service.engine.scheduler import MARGIN, Scheduler
from service.engine.tickets import Job, Outcome, Ticket
from service.engine.waiting import Waiting
from service.errors import InternalError, QueueFull, ServiceError, ShuttingDown
from service.machine.priority import give_way

SHORT_RUN = 0.003
"""Seconds for which a lone request may hold up the event loop."""


class Engine:
    """The run slots and their queue. Use it from one event loop; `start` and `stop` it there."""

    def __init__(
        self,
        slots: int,
        max_queued_images: int,
        max_pixels: int,
        ledger: Ledger,
        load: Callable[[ServedModel, ServedGraph], None],
    ) -> None:
        """`load` loads a graph; it is called in a thread."""
        self.scheduler = Scheduler(slots, max_queued_images)
        self._slots = RunSlots(self.scheduler, ledger, max_pixels)
        self._load = load
        self._loaders = ThreadPoolExecutor(slots, "load", initializer=give_way)
        self._loading: dict[ServedGraph, asyncio.Future[None]] = {}
        self._waiting_for_graphs = 0
        """Number of images whose requests wait for a graph to be loaded."""
        self._last_client: object = None
        self._lone_ticket: Ticket | None = None
        """The ticket just submitted, if it may run on the event loop."""
        self._wake_planned = False
        self._stopping = False

    def start(self) -> None:
        """Start the run slots; needs the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._slots.start(self._loop)

    async def stop(self) -> None:
        """Run what is queued, then end the slots."""
        self._stopping = True
        self.scheduler.close()
        await self._slots.join()
        self._loaders.shutdown(wait=False)

    async def run(
        self,
        model: ServedModel,
        graph: GraphName,
        images: tuple[bytes, ...] | Array,
        labels: NDArray[np.int64] | None = None,
        *,
        request: RequestContext,
        layer: int | None = None,
    ) -> dict[str, Array]:
        """Load `graph` if need be, and return every output of it on `images`, one row per image.

        Args:
            images: n encoded files, uint8 pixels [n, h, w, c] as `images.decode` gives, or the float32 tensor in the
                layout of `input`.
            labels: int64 [n], or [n, K] where labels are independent; −1 for as predicted; None for all predicted.
            request: its deadline, cancellation, clock and priority apply.
            layer: where the runs end, of a graph that takes one: its place in `Bundle.layers`; −1 and None for the
                image itself.

        Returns:
            The outputs by name. Graphs without a backward pass also give `probabilities` [n, K] and `ranking` [n, K]
            (classes, best first; the lower index first among equals). Graphs with one give norms in place of squares,
            as `contract.norms.measure` does.

        Raises:
            ServiceError: not ready, refused (queue, deadline), too late, or failed on this image.
            ImageError: an encoded image cannot be decoded.
        """
        served = model.graph(graph)
        if served.state != "ready":
            await self.load(model, served, len(images), request)
        future: asyncio.Future[dict[str, Array]] = self._loop.create_future()
        job = self.submit(served, images, partial(_resolve, future), labels, request=request, layer=layer)
        try:
            return await future
        except asyncio.CancelledError:
            job.abandon(InternalError("The rest of the request failed."))
            raise

    def submit(
        self,
        graph: ServedGraph,
        images: tuple[bytes, ...] | Array,
        on_outcome: Callable[[Outcome], None],
        labels: NDArray[np.int64] | None = None,
        *,
        request: RequestContext,
        layer: int | None = None,
    ) -> Job:
        """Queue `images` for a graph that is ready; arguments as for `run`.

        `on_outcome` gets the outputs or an error once, on the event loop, and must not raise.

        Raises:
            ServiceError: refused (queue, deadline); `on_outcome` is not called then.
        """
        if self._stopping:
            raise ShuttingDown("The service is shutting down.")
        idle_slots = 1
        if len(images) > 1 and not request.background:
            idle_slots = self.scheduler.idle_slots_for(graph.diagnostic)
        alone = idle_slots == self.scheduler.slots
        job = Job(graph, images, labels, on_outcome, request, idle_slots, alone=alone, layer=layer)
        tickets = job.tickets
        try:
            self.scheduler.submit(tickets, request.deadline)
        except ServiceError:
            job.tickets = []  # job and tickets refer to each other: garbage for the collector, if left
            raise
        request.add(job)
        if not request.background:
            alone = len(tickets) == 1 and request.client is not None and request.client is self._last_client
            self._last_client = request.client
            self._lone_ticket = tickets[0] if alone and _is_short(tickets[0]) else None
        if not self._wake_planned:
            self._wake_planned = True
            self._loop.call_soon(self._wake)
        return job

    def _wake(self) -> None:
        """Wake the slots once per turn of the event loop, when everything that arrived together is queued."""
        self._wake_planned = False
        ticket, self._lone_ticket = self._lone_ticket, None
        batch = self.scheduler.take_only(ticket) if ticket is not None else None
        if batch is None:
            self.scheduler.wake()
        else:
            self._slots.run(batch)
            batch.deliver()

    async def load(self, model: ServedModel, graph: ServedGraph, images: int, request: RequestContext) -> None:
        """Have `graph` loaded before others, for a request of so many images, and wait until it is ready.

        Raises:
            ServiceError: the graph cannot be loaded, too many images wait for graphs, or the request is given up.
        """
        if graph.state == "loading" or graph.may_load(time.monotonic()):
            self._check_room_for(images)
            graph.asked_for = True
            self._waiting_for_graphs += images
            try:
                await Waiting(self._loading_of(model, graph)).until_done(request)
            finally:
                self._waiting_for_graphs -= images
        graph.check_ready()

    def images_within(self, graph: ServedGraph, seconds: float) -> int:
        """Return how many images of one request `graph`, which is ready, can run within `seconds` from now.

        By what is known of its speed, on the run slots that are idle, or on one after what waits already.
        """
        wait = self.scheduler.expected_wait(graph.diagnostic) * MARGIN
        slots = max(1, self.scheduler.idle_slots_for(graph.diagnostic)) if shares_out(graph) else 1
        return slots * max(0, int((seconds - wait) / graph.seconds_per_image))

    def images_at_a_time(self, graph: ServedGraph, run: int) -> int:
        """Return how many images run in the time that `run` images of one request have just taken, alone here.

        Where they ran on several threads it is their number, which is too low: more images have a core each.
        """
        alone_on_all = runs_wide(graph, run) or not shares_out(graph)
        return run if alone_on_all else max(run, self.scheduler.idle_slots_for(graph.diagnostic))

    def _check_room_for(self, images: int) -> None:
        waiting = self.scheduler.waiting_images + self._waiting_for_graphs
        if waiting + images > self.scheduler.max_images:
            raise QueueFull(f"{waiting} images are waiting; the limit is {self.scheduler.max_images}.")
        if self._stopping:
            raise ShuttingDown("The service is shutting down.")

    def _loading_of(self, model: ServedModel, graph: ServedGraph) -> asyncio.Future[None]:
        """Return the one loading of a graph that all its requests wait for."""
        loading = self._loading.get(graph)
        if loading is None:
            loading = self._loading[graph] = self._loop.run_in_executor(self._loaders, self._load, model, graph)
            loading.add_done_callback(lambda _: self._loading.pop(graph, None))
        return loading


def _resolve(future: asyncio.Future[dict[str, Array]], outcome: Outcome) -> None:
    """Give `outcome` to whoever awaits `future`, who may have gone."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # or asyncio logs an error that nobody awaits
    else:
        future.set_result(outcome)


def _is_short(ticket: Ticket) -> bool:
    return not ticket.graph.diagnostic and ticket.count * ticket.graph.seconds_per_image < SHORT_RUN
