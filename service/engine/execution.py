"""The run slots: threads that take batches from the queue and run them, from encoded images to every ticket's rows."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedGraph
from service.contract.arrays import Array
from service.contract.bundle_schema import THE_IMAGE
from service.contract.label_kinds import LabelKind
from service.contract.norms import measure
from service.contract.runtime.gpu.pixel_graph import PixelFeed
from service.contract.runtime.provider import CPU
from service.contract.runtime.runs import RunCancelled, shortage
from service.contract.runtime.session import Session
from service.engine.ledger import Ledger
from service.engine.scheduler import Scheduler
from service.engine.tickets import Batch, Ticket
from service.errors import NotReady, RunFailed, ShortOfMemory
from service.images.limits import MAX_PIXELS
from service.images.pixel_table import pixel_table
from service.images.preprocess import decode, normalise

log = logging.getLogger("contraflow.engine")


class RunSlots:
    """Threads that run batches, as many as the scheduler has slots."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, max_pixels: int) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._max_pixels = max_pixels
        self._threads: list[threading.Thread] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; batches are delivered on `loop`."""
        for index in range(self._scheduler.slots):
            thread = threading.Thread(target=self._work, args=(loop,), name=f"run-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def join(self) -> None:
        """Wait until the threads have ended, which they do once the scheduler is closed and empty."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()

    def run(self, batch: Batch) -> None:
        """Run one batch, free its slot, and write the run into the ledger."""
        began = time.monotonic()
        try:
            execute(batch, self._max_pixels)
        finally:
            self._scheduler.finish(batch)
        if batch.ran:
            seconds = time.monotonic() - began
            self._ledger.run_finished(batch.graph, batch.ran, seconds, stopped=batch.handle.stopped, wide=batch.wide)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := self._scheduler.take()) is not None:
            self.run(batch)
            loop.call_soon_threadsafe(batch.deliver)  # one wake-up for all tickets


def execute(batch: Batch, max_pixels: int = MAX_PIXELS) -> None:
    """Fill in the `outcome` of every ticket; never raises. A ticket that fails leaves its neighbours alone."""
    decodable: list[tuple[Ticket, Array]] = []
    for ticket in batch.tickets:
        if ticket.settled:
            continue
        try:
            decodable.append((ticket, _pixels_or_tensor(ticket, max_pixels)))
        except Exception as error:
            ticket.outcome = _short_of_memory(error, ticket) or error
    decoded = time.monotonic()
    if decodable:
        batch.ran = sum([ticket.count for ticket, _ in decodable])
        _run_together(batch, decodable)
    finished = time.monotonic()
    for ticket in batch.tickets:
        ticket.images = None
        ticket.decoded, ticket.finished = decoded, finished


def _pixels_or_tensor(ticket: Ticket, max_pixels: int) -> Array:
    images = ticket.images
    if isinstance(images, tuple):
        pixels = [decode(data, ticket.graph.spec, max_pixels) for data in images]
        return pixels[0][None] if len(pixels) == 1 else np.stack(pixels)
    assert images is not None
    return images


def _run_together(batch: Batch, members: list[tuple[Ticket, Array]]) -> None:
    """Run all members at once; if that fails, run each alone, so that only the one at fault fails."""
    try:
        _run(batch, members)
    except RunCancelled:
        return
    except Exception as error:
        if len(members) > 1:
            for member in members:
                _run_together(batch, [member])
        else:
            members[0][0].outcome = _failure(error, members[0][0])


def _failure(error: Exception, ticket: Ticket) -> Exception:
    """Return what is answered to a request that was run alone and failed, and write the reason into the log."""
    if isinstance(error, NotReady):
        return error
    if short := _short_of_memory(error, ticket):
        return short
    log.exception("%s %s failed on one request", ticket.graph.model, ticket.graph.name)
    return RunFailed("The model could not be run on this image; the reason is in the service's log.")


def _short_of_memory(error: Exception, ticket: Ticket) -> ShortOfMemory | None:
    """Return what is answered where memory was short; None if something else was wrong.

    Other runs, models and processes take memory too, so that even one image may fit later. What never fits is asked for
    again in vain; the answer therefore says what would help.
    """
    session = ticket.graph.session
    short = shortage(error, on_a_gpu=session is not None and session.provider != CPU)
    if short is None:
        return None
    run = f"{ticket.graph.model} {ticket.graph.name} at batch {ticket.count}"
    log.warning("%s: %s: %s", run, short, str(error).strip())
    if ticket.count == 1:
        return ShortOfMemory(f"For this image {short}. If that lasts, the service needs more.")
    return ShortOfMemory(f"For {ticket.count} images in one run {short}. Fewer need less.")


def _run(batch: Batch, members: list[tuple[Ticket, Array]]) -> None:
    graph, handle = batch.graph, batch.handle
    session = graph.session
    if session is None:
        raise NotReady(f"The graph {graph.name} of {graph.model} was unloaded.")
    images = _input(graph, session, [images for _, images in members])
    feeds: dict[str, Any] = {"input": images}
    if "label" in session.inputs:
        per_image = session.input_shapes["label"][1:]
        feeds["label"] = np.concatenate([_labels(ticket, per_image) for ticket, _ in members])
    if "layer" in session.inputs:
        feeds["layer"] = np.array([THE_IMAGE if batch.layer is None else batch.layer], np.int64)
    if "cotangent_scale" in session.inputs:
        held = session.hold(feeds, handle)
        outputs: dict[str, Array] = measure(
            lambda scale: session.run({**held, "cotangent_scale": scale}, handle), len(images)
        )
    else:
        outputs = with_predictions(session.run(feeds, handle), graph.label_kind)
    _hand_out(outputs, [ticket for ticket, _ in members])


def with_predictions(outputs: dict[str, Array], kind: LabelKind) -> dict[str, Array]:
    """Add `probabilities` [n, K] and `ranking`, the classes by their probability, int64 [n, K]."""
    outputs["probabilities"] = kind.served_probabilities(outputs["logits"])
    outputs["ranking"] = (-outputs["logits"]).argsort(axis=1, kind="stable")
    return outputs


def _input(graph: ServedGraph, session: Session, parts: list[Array]) -> NDArray[np.float32] | PixelFeed:
    """Return one batch as the session takes it best: pixels as they are where it normalises them itself."""
    if session.takes_pixels and all(part.dtype == np.uint8 for part in parts):
        return PixelFeed(tuple(parts), pixel_table(graph.spec))
    return _tensor(graph, parts)


def _tensor(graph: ServedGraph, parts: list[Array]) -> NDArray[np.float32]:
    """Return one batch: pixels are normalised (together, if all are pixels), tensors are taken as they are."""
    if all(part.dtype == np.uint8 for part in parts):
        return normalise(parts[0] if len(parts) == 1 else np.concatenate(parts), graph.spec)
    tensors = [normalise(part, graph.spec) if part.dtype == np.uint8 else part for part in parts]
    return tensors[0] if len(tensors) == 1 else np.concatenate(tensors)


def _labels(ticket: Ticket, per_image: Sequence[int]) -> NDArray[np.int64]:
    """Return the labels of a ticket; −1, for as predicted, where none are given."""
    return np.full((ticket.count, *per_image), -1, np.int64) if ticket.labels is None else ticket.labels


def _hand_out(outputs: dict[str, Array], tickets: list[Ticket]) -> None:
    """Give each ticket its rows. A graph in which samples mix runs for one ticket at a time, which gets everything."""
    if len(tickets) == 1:
        tickets[0].outcome = outputs
        return
    start = 0
    for ticket in tickets:
        rows = slice(start, start + ticket.count)
        ticket.outcome = {name: value[rows] for name, value in outputs.items()}
        start = rows.stop
