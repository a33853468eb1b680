"""Gradients of a logit with respect to the network's input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import THE_IMAGE, InputSpec
from service.diagnostics.explanation.steps import Steps
from service.diagnostics.measurement import RunToLayer

MOST_NUMBERS: Final = 2**20
"""Numbers of the inputs that are run together: 32 MB, and twice as much for their gradients in float64."""

StepsAfter = Callable[[int, float], Steps]
"""How many steps each image gets, after so many images were run at once in so many seconds."""


@dataclass(frozen=True)
class Start:
    """What a first run says of N images.

    Args:
        logits: [N, K], of the images.
        labels: whose logit is explained, int64 [N].
        extra: [M, K], logits of what else was run.
        steps: how many runs each image gets from here on.
    """

    logits: Array
    labels: NDArray[np.int64]
    extra: Array
    steps: Steps


async def first_run(
    run: RunToLayer, inputs: Array, extra: Array, labels: NDArray[np.int64], steps_after: StepsAfter
) -> Start:
    """Run the images and what `extra` there is, settle the labels, and see how many steps there is time for."""
    given = np.concatenate([labels, np.zeros(len(extra), np.int64)])
    began = time.monotonic()
    outputs = await run("explanation", np.concatenate([inputs, extra]), given, layer=THE_IMAGE)
    steps = steps_after(len(given), time.monotonic() - began)
    logits = outputs["logits"][: len(inputs)]
    return Start(logits, settled(logits, labels), outputs["logits"][len(inputs) :], steps)


async def gradients(
    run: RunToLayer, spec: InputSpec, inputs: Array, labels: NDArray[np.int64]
) -> tuple[Float64, Array]:
    """Return dz/dinput of each input, in its layout, and the logits [N, K]."""
    outputs = await run("explanation", inputs, labels, layer=THE_IMAGE)
    return outputs["logit_gradient"].reshape(-1, *spec.image_shape), outputs["logits"]


async def weighted_gradient(
    run: RunToLayer, spec: InputSpec, inputs: Iterator[tuple[Array, Float64]], label: int
) -> Float64:
    """Return the sum of weight · dz/dinput over the inputs, in the layout of one.

    Args:
        inputs: several at a time, [n, …] in float32, with their weights [n].
        label: whose logit it is.
    """
    total = np.zeros(spec.image_shape)
    for some, weights in inputs:
        found, _ = await gradients(run, spec, some, np.full(len(some), label, np.int64))
        total += np.tensordot(weights, found, axes=1)
    return total


def in_parts(steps: int, shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield which of the steps are run together, few enough to be held in memory."""
    together = max(1, MOST_NUMBERS // int(np.prod(shape)))
    for start in range(0, steps, together):
        yield slice(start, min(steps, start + together))


def settled(logits: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the labels, and the one with the largest logit where they are −1."""
    return np.where(labels < 0, np.argmax(logits, axis=1), labels).astype(np.int64)


def colour_axis(spec: InputSpec) -> int:
    """Return the axis of the colours in [N, …]."""
    return 1 if spec.layout == "nchw" else 3
