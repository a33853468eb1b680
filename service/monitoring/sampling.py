"""Measures the gradients of a share of the live predictions: is the model still like itself?

Clients must not notice. An image is drawn after its prediction is answered, and dropped unless a run slot is free and
nothing waits. Only one is measured at a time, and in the queue it comes after everything that a client waits for. The
most it can cost a prediction is the rest of one run of one image.
"""

from __future__ import annotations

import asyncio
import logging
import random
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from service.bundles.reference import read_reference
from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName
from service.contract.label_kinds import kind_called
from service.diagnostics.measurement import measure_gradients
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.request_context import RequestContext
from service.errors import NotReady, QueueFull
from service.monitoring.live import LiveGradients

log = logging.getLogger("contraflow.sampling")


class Sampler:
    """Draws images from what `/predict` has answered. Used by the thread of the event loop; `/metrics` reads `live`."""

    def __init__(self, share: float, engine: Engine, decode_pool: DecodePool) -> None:
        self.share = share
        self.live: WeakKeyDictionary[ServedModel, LiveGradients] = WeakKeyDictionary()
        self._engine = engine
        self._decode_pool = decode_pool
        self._random = random.Random()
        self._task: asyncio.Task[None] | None = None

    def offer(self, model: ServedModel, images: tuple[bytes, ...]) -> None:
        """Draw at most one of `images`, each with probability `share`, and start to measure it."""
        if self._random.random() >= self.share * len(images) or not model.has("weight_norms"):
            return
        live = self.live.get(model)
        if live is None:
            try:
                live = self.live[model] = LiveGradients(model.bundle, read_reference(model.stored))
            except NotReady:
                return  # the bundle is being replaced, and so will the model be
        if (self._task is not None and not self._task.done()) or not self._engine.scheduler.idle:
            live.counts["dropped"] += 1
            return
        self._task = asyncio.ensure_future(self._measure(model, self._random.choice(images), live))

    def stop(self) -> None:
        """Give up the image that is being measured."""
        if self._task is not None:
            self._task.cancel()

    async def _measure(self, model: ServedModel, image: bytes, live: LiveGradients) -> None:
        request = RequestContext(background=True)

        async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
            return await self._engine.run(model, graph, images, labels, request=request)

        try:
            pixels = await self._decode_pool.pixels((image,), model.bundle.input, request)
            unlabelled = kind_called(model.bundle.label_kind).none_given(1, len(model.bundle.labels))
            measured = await measure_gradients(run, model.bundle, pixels, unlabelled)
        except QueueFull:
            live.counts["dropped"] += 1
        except Exception as error:  # nobody waits for this answer, so nobody else would report it
            if not live.counts["failed"]:
                log.warning("the gradients of a sampled image of %s could not be measured: %s", model.name, error)
            live.counts["failed"] += 1
        else:
            live.add(measured)
