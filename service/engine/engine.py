"""Runs graphs for requests: `await engine.run(…)` in, rows for exactly these images out; or by callback, `begin`.

Run slots are threads that each take a batch, decode what is small, run it and wake the event loop
once for all its tickets. A request that finds the service empty, from the only client there is, runs
on the event loop itself when that takes no longer than handing it over would be worth.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.registry import ServedGraph, ServedModel
from service.contract.bundle_schema import GraphName
from service.engine.batching import Batch, Outcome, Scheduler, Ticket
from service.engine.execution import execute
from service.engine.ledger import Ledger
from service.engine.request_context import RequestContext
from service.errors import InternalError, QueueFull, ShuttingDown
from service.machine.priority import give_way

Array = NDArray[Any]

SHORT_RUN = 0.003
"""Seconds for which the event loop may be held up by a lone request."""


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
        self._load = load
        self.scheduler = Scheduler(slots, max_queued_images)
        self._max_pixels = max_pixels
        self._ledger = ledger
        self._threads: list[threading.Thread] = []
        self._loaders = ThreadPoolExecutor(slots, "load", initializer=give_way)
        self._loading: dict[ServedGraph, asyncio.Future[None]] = {}
        self._waiting_for_graphs = 0
        """Images of requests that wait for a graph to be loaded."""
        self._waiting_tasks: set[asyncio.Task[None]] = set()
        self._last_client: object = None
        self._alone: Ticket | None = None
        self._wake_planned = False
        self._stopping = False

    def start(self) -> None:
        """Starts the run slots; needs the running event loop."""
        self._loop = asyncio.get_running_loop()
        for number in range(self.scheduler.slots):
            thread = threading.Thread(target=self._slot, name=f"run-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        """Runs what is queued, then ends the slots."""
        self._stopping = True
        self.scheduler.close()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()
        self._loaders.shutdown(wait=False)

    async def run(
        self,
        model: ServedModel,
        graph: GraphName,
        images: tuple[bytes, ...] | Array,
        labels: NDArray[np.int64] | None = None,
        *,
        request: RequestContext,
    ) -> dict[str, Array]:
        """Every output of `graph` on `images`, one row per image.

        Args:
            images: n encoded files, uint8 pixels [n, h, w, c] as `images.decode` gives, or the
                float32 tensor in the layout of `input`.
            labels: int64 [n], −1 for the predicted class; None for all predicted.
            request: whose deadline, cancellation, clock and priority apply.

        Returns:
            The outputs by name. For graphs without a backward pass also `probabilities` [n, K] and
            `ranking` [n, K] (classes, best first; the lower index first among equals); for those
            with one, norms in place of squares, as `diagnostics.norms.measure` gives them.

        Raises:
            ServiceError: not ready, refused (queue, deadline), too late, or failed on this image.
            ImageError: an encoded image that cannot be decoded.
        """
        served = model.graph(graph)
        if served.state != "ready":
            await self.load(model, served, len(images), request)
        parts = self._parts(served, len(images))
        futures: list[asyncio.Future[dict[str, Array]]] = [self._loop.create_future() for _ in parts]
        tickets = [
            Ticket(
                served,
                images[part],
                None if labels is None else labels[part],
                partial(_resolve, future),
                background=request.background,
            )
            for part, future in zip(parts, futures, strict=True)
        ]
        self._submit(tickets, request)
        try:
            if len(futures) == 1:
                return await futures[0]
            return _joined([await future for future in futures])
        except BaseException:
            for ticket in tickets:
                ticket.abandon(InternalError("The rest of the request failed."))
            raise
        finally:
            _account(request, tickets)

    async def load(self, model: ServedModel, graph: ServedGraph, images: int, request: RequestContext) -> None:
        """Waits until `graph` is ready, for a request of so many images, and has it loaded before others.

        Raises:
            ServiceError: the graph cannot be loaded, too many images wait for graphs, or the request is given up.
        """
        if graph.state == "loading" or graph.may_load(time.monotonic()):
            self._check_room_for(images)
            graph.asked_for = True
            self._waiting_for_graphs += images
            try:
                await _Waiting(asyncio.shield(self._loading_of(model, graph))).until_done(request)
            finally:
                self._waiting_for_graphs -= images
        graph.check_ready()

    def _check_room_for(self, images: int) -> None:
        waiting = self.scheduler.waiting_images + self._waiting_for_graphs
        if waiting + images > self.scheduler.max_images:
            raise QueueFull(f"{waiting} images are waiting; the limit is {self.scheduler.max_images}.", retry_after=1.0)
        if self._stopping:
            raise ShuttingDown("The service is shutting down.", retry_after=1.0)

    def _loading_of(self, model: ServedModel, graph: ServedGraph) -> asyncio.Future[None]:
        """The one loading of a graph that all its requests wait for."""
        loading = self._loading.get(graph)
        if loading is None:
            loading = self._loading[graph] = self._loop.run_in_executor(self._loaders, self._load, model, graph)
            loading.add_done_callback(lambda _: self._loading.pop(graph, None))
        return loading

    def begin(
        self,
        model: ServedModel,
        graph: ServedGraph,
        image: bytes,
        answer: Callable[[Outcome], None],
        *,
        request: RequestContext,
    ) -> None:
        """Runs `graph` on one encoded image; as `run`, but without a coroutine where the graph is ready.

        `answer` gets the outcome once, on the event loop, and must not raise.

        Raises:
            ServiceError: refused (queue, deadline); `answer` is not called then.
        """
        if graph.state != "ready":
            waiting = self._loop.create_task(self._begin_when_loaded(model, graph, image, answer, request))
            self._waiting_tasks.add(waiting)  # the event loop itself holds tasks weakly
            waiting.add_done_callback(self._waiting_tasks.discard)
            return

        def settled(ticket: Ticket, outcome: Outcome) -> None:
            _account(request, (ticket,))
            answer(outcome)

        self._submit((Ticket(graph, (image,), None, settled),), request)

    async def _begin_when_loaded(
        self,
        model: ServedModel,
        graph: ServedGraph,
        image: bytes,
        answer: Callable[[Outcome], None],
        request: RequestContext,
    ) -> None:
        try:
            await self.load(model, graph, 1, request)
            self.begin(model, graph, image, answer, request=request)
        except Exception as error:
            answer(error)

    def _parts(self, graph: ServedGraph, count: int) -> list[slice]:
        """What of `count` images goes into one run."""
        size = max(1, count) if graph.exclusive else graph.best_batch
        return [slice(start, start + size) for start in range(0, max(1, count), size)]

    def _submit(self, tickets: Sequence[Ticket], request: RequestContext) -> None:
        if self._stopping:
            raise ShuttingDown("The service is shutting down.", retry_after=1.0)
        self.scheduler.submit(tickets, request.deadline)
        for ticket in tickets:
            request.add(ticket)
        if not request.background:
            alone = len(tickets) == 1 and request.client is not None and request.client == self._last_client
            self._last_client = request.client
            self._alone = tickets[0] if alone and _is_short(tickets[0]) else None
        if not self._wake_planned:
            self._wake_planned = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        """Once per turn of the event loop, when all that arrived together is in the queue."""
        self._wake_planned = False
        ticket, self._alone = self._alone, None
        batch = self.scheduler.take_only(ticket) if ticket is not None else None
        if batch is None:
            self.scheduler.wake()
        else:
            self._execute(batch)
            batch.deliver()

    def _slot(self) -> None:
        while True:
            batch = self.scheduler.take()
            if batch is None:
                return
            self._execute(batch)
            self._loop.call_soon_threadsafe(batch.deliver)

    def _execute(self, batch: Batch) -> None:
        began = time.monotonic()
        try:
            execute(batch, self._max_pixels)
        finally:
            self.scheduler.finish(batch)
        if batch.ran:
            self._ledger.run_finished(batch.graph, batch.ran, time.monotonic() - began, stopped=batch.handle.stopped)


class _Waiting:
    """Waits for a future that others may need too; given up with the request."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future
        self._error: Exception | None = None

    def abandon(self, error: Exception) -> None:
        self._error = error
        self._future.cancel()

    async def until_done(self, request: RequestContext) -> None:
        request.add(self)
        try:
            await self._future
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            request.remove(self)


def _resolve(future: asyncio.Future[dict[str, Array]], _: Ticket, outcome: Outcome) -> None:
    """`outcome` to whoever awaits `future`, who may have gone."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # seen
    else:
        future.set_result(outcome)


def _is_short(ticket: Ticket) -> bool:
    return not ticket.graph.diagnostic and ticket.count * ticket.graph.seconds_per_image < SHORT_RUN


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _account(request: RequestContext, tickets: Sequence[Ticket]) -> None:
    """From the submission to now: queued until the first was taken, then decoding, then running."""
    for ticket in tickets:
        request.remove(ticket)
    first, last = tickets[0], tickets[-1]
    if first.taken:
        request.account("queue", first.taken)
    if first.decoded:
        request.account("decode", first.decoded)
        request.account("run", max(last.finished, first.decoded))
    request.account("queue")
