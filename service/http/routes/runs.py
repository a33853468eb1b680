"""Runs of a model's graphs for a diagnosis, how many there is time for, and which network an answer is about."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName
from service.diagnostics.explanation.steps import Fitting, NoTime
from service.diagnostics.measurement import RunToLayer
from service.diagnostics.quantized import about_network
from service.diagnostics.schemas.base import DiagnosticSchema
from service.diagnostics.shattering.path import straight_path
from service.diagnostics.shattering.points import (
    LEAST_POINTS,
    POINTS,
    SURE_SHARE,
    chosen_points,
    no_time,
    note_on_points,
    planned,
)
from service.errors import TooBusy
from service.http.answers.responses import identity
from service.http.calls.call import Call


def runner(call: Call, model: ServedModel) -> RunToLayer:
    """Return what runs graphs of `model` for this call."""

    async def run(
        graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None, *, layer: int | None = None
    ) -> dict[str, Array]:
        return await call.service.engine.run(model, graph, images, labels, request=call.context, layer=layer)

    return run


@dataclass(frozen=True)
class Walk:
    """A path of P points that was run: labels [P] or [P, K], the outputs by name, and why P is smaller than usual."""

    labels: NDArray[np.int64]
    outputs: Mapping[str, Array]
    note: str | None


async def walk(call: Call, model: ServedModel, ends: Array, label: NDArray[np.int64], named: int | None) -> Walk:
    """Run `input_gradient` along the path between two inputs, at as many points as there is time for.

    Where time may be short, the two ends are run first. They belong to every path, and how long they take says how fast
    the model is now: what was learnt before may be of a machine that did less, or more, besides. A path is refused only
    if there is no time for it by either.

    Args:
        call: its deadline counts.
        model: its graph is loaded first, because only then anything is known of its speed.
        ends: [2, …], float32.
        label: of the loss, int64 [1] or [1, K].
        named: how many points the caller wants; None where the service chooses.

    Raises:
        TooBusy: there is no time for `named` points, or for the fewest that a path can have.
        ServiceError: as `Engine.run`.
    """
    engine, graph = call.service.engine, model.graph("input_gradient")

    async def run(inputs: Array) -> dict[str, Array]:
        return await runner(call, model)("input_gradient", inputs, np.repeat(label, len(inputs), axis=0))

    usual = POINTS if named is None else named
    if graph.state != "ready":
        await engine.load(model, graph, usual, call.context)
    left = _seconds_left(call)
    if engine.images_within(graph, left * SURE_SHARE) >= usual:
        return Walk(np.repeat(label, usual, axis=0), await run(straight_path(ends[0], ends[1], usual)), None)
    began = time.monotonic()
    first = await run(ends)
    ran, left = time.monotonic() - began, _seconds_left(call)
    fitting = len(ends) + int(engine.images_at_a_time(graph, len(ends)) * left / ran)
    hoped_for = max(fitting, len(ends) + engine.images_within(graph, left))
    if hoped_for < (named or LEAST_POINTS):
        wait = engine.scheduler.expected_wait(diagnostic=True)
        raise TooBusy(f"{no_time(named, planned(hoped_for), left)} {_more_time(call)}", retry_after=wait or None)
    points = named or chosen_points(fitting)
    rest = await run(straight_path(ends[0], ends[1], points)[1:-1])
    outputs = {
        name: np.concatenate([first[name][:1], rest[name], first[name][1:]]) for name in ("input_gradient", "logits")
    }
    return Walk(np.repeat(label, points, axis=0), outputs, note_on_points(points, left) if named is None else None)


def fitting_images(call: Call, model: ServedModel) -> Fitting:
    """Return how many images `explanation` of `model`, which is loaded, can run before the deadline of the call.

    By what a run has just taken, on a machine that may do more or less besides than it did before; or by what was
    learnt before, if that leaves much room.
    """
    engine, graph = call.service.engine, model.graph("explanation")

    def fitting(ran: int, seconds: float) -> int:
        left = _seconds_left(call)
        by_now = int(engine.images_at_a_time(graph, ran) * left / seconds)
        return max(by_now, engine.images_within(graph, left * SURE_SHARE))

    return fitting


def too_late(call: Call, error: NoTime) -> TooBusy:
    """Return what is answered where there is no time for an explanation: what would give it more."""
    wait = call.service.engine.scheduler.expected_wait(diagnostic=True)
    return TooBusy(f"{error} {_more_time(call)}", retry_after=wait or None)


def _seconds_left(call: Call) -> float:
    assert call.context.deadline is not None, "every call has a deadline once its body is there"
    return max(0.0, call.context.deadline - time.monotonic())


def _more_time(call: Call) -> str:
    """Return what gives a request more time: a later deadline of its own, or the setting where it has all of that."""
    usual = call.service.deadlines.usual
    assert call.context.deadline is not None
    if call.context.deadline - call.context.received < usual:
        return f"Ask with a longer X-Deadline-Ms, at most the setting deadline_ms ({usual * 1e3:g})."
    return f"A longer deadline helps: the setting deadline_ms, now {usual * 1e3:g}."


async def identity_of_network(
    call: Call, model: ServedModel, images: Array, samples: Sequence[DiagnosticSchema]
) -> dict[str, Any]:
    """Return the members that the answer of a diagnosis begins with.

    For an int8 model they say what `about_network` does of these images, and of the answer's `samples`.
    """
    quantized = await about_network(runner(call, model), model.bundle, images, samples)
    return {**identity(model, call.context), "quantized": quantized}
