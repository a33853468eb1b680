"""Runs a second version on a share of the images that predictions answer: would it answer the same?

No answer depends on it. An image is drawn when its prediction is computed, and dropped unless a run slot is free and
nothing waits. Drawn images go through the shadow one by one, each in a run of its own, and in the queue they come after
everything that a client waits for. So the most that the shadow can cost a prediction is the rest of one run of one
image; where that is long beside the prediction's own, the engine stops it. Whatever fails is counted, and its first
reason is logged.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.bundles.registry import Registry
from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName, InputSpec
from service.diagnostics.gradients import Measured
from service.diagnostics.measurement import measure_gradients
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.request_context import RequestContext
from service.errors import QueueFull, ServiceError
from service.monitoring.shadow.answers import ShadowOutcome
from service.monitoring.shadow.pair import Pair
from service.monitoring.shadow.record import Record

log = logging.getLogger("contraflow.shadow")


class Drawn(NamedTuple):
    """One image, with what was answered."""

    image: bytes | Array
    """An encoded file, pixels [1, h, w, c], or the float32 tensor of one image; arrays as the model reads them."""
    probabilities: Array
    """By the model that answered, [K]."""


class Shadowing:
    """The shadow of the settings. Used by the thread of the event loop; other threads may read `record`."""

    def __init__(
        self,
        name: str,
        share: float,
        gradient_share: float,
        registry: Registry,
        engine: Engine,
        decode_pool: DecodePool,
    ) -> None:
        """`name` is the shadow's name@version; `gradient_share` is that of the compared images."""
        self.name = name
        self.share = share
        self.gradient_share = gradient_share
        self.record: Record | None = None
        """What is known of the pair that is compared, or was compared last; None before there was one."""
        self.reason: str | None = "No image has been drawn yet."
        """Why nothing is compared; None where it is."""
        self._registry = registry
        self._engine = engine
        self._decode_pool = decode_pool
        self._random = random.Random()
        self._task: asyncio.Task[None] | None = None

    def offer(
        self,
        model: ServedModel,
        files: tuple[bytes, ...],
        inputs: tuple[bytes, ...] | Array,
        probabilities: Array,
    ) -> None:
        """Draw each of the n images with probability `share`, and begin to compare those drawn; never raises.

        Args:
            model: it has answered.
            files: the encoded images; none where the caller sent tensors.
            inputs: what was run: the same, or pixels or tensors as `model` reads them.
            probabilities: its answers, [n, K].
        """
        drawn = [row for row in range(len(inputs)) if self._random.random() < self.share]
        if not drawn:
            return
        try:
            self._begin(model, files, inputs, probabilities, drawn)
        except Exception:
            log.exception("images could not be drawn for %s", self.name)

    def look(self) -> Record | None:
        """Find out which models are compared now; return None, and keep the `reason`, if none are."""
        reason = None
        try:
            shadow = self._registry.select(self.name)
            shadow.graph("forward").check_ready()
            model = self._registry.shadowed(shadow)
            if model is None:
                reason = f"There is no model beside {self.name} whose answers it could be compared with."
            elif self.record is None or not self.record.pair.is_of(model, shadow):
                self.record = Record(Pair(model, shadow))
                log.info("%s is compared with %s from now on", self.name, model.full_name)
        except ServiceError as error:
            reason = error.detail
        if reason is None and self.record is not None:
            reason = self.record.pair.obstacle
        if reason is not None and reason != self.reason:
            log.warning("nothing goes through the shadow %s: %s", self.name, reason)
        self.reason = reason
        return self.record if reason is None else None

    def stop(self) -> None:
        """Give up the images that are being compared."""
        if self._task is not None:
            self._task.cancel()

    def _begin(
        self,
        model: ServedModel,
        files: tuple[bytes, ...],
        inputs: tuple[bytes, ...] | Array,
        probabilities: Array,
        drawn: list[int],
    ) -> None:
        record = self.look()
        if record is None or not record.pair.is_of(model, shadow := self._registry.select(self.name)):
            return
        images = inputs if record.pair.reads_alike else files
        if not len(images):
            return  # a tensor is what the one of the two reads, and says nothing to the other
        if (self._task is not None and not self._task.done()) or not self._engine.scheduler.idle:
            record.answers.counts["dropped"] += len(drawn)
            return
        # Rows are copied: a view would keep the whole request.
        chosen = [
            Drawn(images[row] if isinstance(images, tuple) else images[row : row + 1].copy(), probabilities[row].copy())
            for row in drawn
        ]
        self._task = asyncio.ensure_future(self._compare_all(record, model, shadow, chosen))

    async def _compare_all(self, record: Record, model: ServedModel, shadow: ServedModel, chosen: list[Drawn]) -> None:
        for one in chosen:
            outcome = await self._compare(record, model, shadow, one)
            if outcome != "compared":
                record.answers.counts[outcome] += 1

    async def _compare(self, record: Record, model: ServedModel, shadow: ServedModel, one: Drawn) -> ShadowOutcome:
        """Run one image through the shadow, and count what it answers; return what became of the image."""
        try:
            inputs = await self._input(one.image, record.pair.shadow.input)
            outputs = await self._run(shadow, "forward", inputs)
            _count(record, one.probabilities, outputs["probabilities"][0])
        except QueueFull:
            return "dropped"
        except Exception as error:  # nobody waits for this answer, so nobody else would report it
            record.last_failure = self._said(error, record.last_failure, "an image could not be compared")
            return "failed"
        if self._wants_gradients(model, shadow):
            await self._compare_layers(record, model, shadow, one, inputs)
        return "compared"

    def _wants_gradients(self, model: ServedModel, shadow: ServedModel) -> bool:
        """Draw an image for its gradients; none while a graph is loading that predictions may wait for."""
        if self._random.random() >= self.gradient_share:
            return False
        graphs = [one.graphs.get("weight_norms") for one in (model, shadow)]
        now = time.monotonic()
        if not all(graph is not None and (graph.state == "ready" or graph.may_load(now)) for graph in graphs):
            return False
        return not any(one.loading for one in self._registry.models())

    async def _compare_layers(
        self, record: Record, model: ServedModel, shadow: ServedModel, one: Drawn, inputs: Array
    ) -> None:
        pair = record.pair
        own, others = pair.labels_of_loss(one.probabilities)
        try:
            read = inputs if pair.reads_alike else await self._input(one.image, pair.model.input)
            first = await self._measure(model, read, own)
            second = await self._measure(shadow, inputs, others)
        except QueueFull:
            return
        except Exception as error:
            record.layers_failure = self._said(error, record.layers_failure, "gradients could not be compared")
        else:
            record.layers.add(first, second)

    async def _input(self, image: bytes | Array, spec: InputSpec) -> Array:
        if isinstance(image, np.ndarray):
            return image
        return await self._decode_pool.pixels((image,), spec, RequestContext(background=True))

    async def _measure(self, model: ServedModel, inputs: Array, labels: NDArray[np.int64]) -> Measured:
        async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
            return await self._run(model, graph, images, labels)

        return await measure_gradients(run, model.bundle, inputs, labels)

    async def _run(
        self, model: ServedModel, graph: GraphName, inputs: Array, labels: NDArray[np.int64] | None = None
    ) -> dict[str, Array]:
        return await self._engine.run(model, graph, inputs, labels, request=RequestContext(background=True))

    def _said(self, error: Exception, before: str | None, what: str) -> str:
        """Return an error in words; the first one is logged, with what caused it."""
        reason = error.detail if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
        if before is None:
            log.warning("%s through the shadow %s: %s", what, self.name, reason, exc_info=error.__cause__)
        return reason


def _count(record: Record, answered: Array, others: Array) -> None:
    """Count one image by its probabilities, by the model [K] and by the shadow [K'].

    Raises:
        FloatingPointError: one of them is no finite number.
    """
    if not (np.isfinite(answered).all() and np.isfinite(others).all()):
        raise FloatingPointError("a probability is not a finite number")
    pair = record.pair
    labels = pair.predicted(answered, by_shadow=False), pair.predicted(others, by_shadow=True)
    record.answers.add(labels, *pair.differences(answered, others))
