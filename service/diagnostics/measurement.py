"""Runs the graphs that a diagnosis needs. What is not asked for is not computed."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle, GraphName
from service.contract.label_kinds import kind_called
from service.diagnostics.gradients import Measured, saturated_samples
from service.diagnostics.noise import left_out_groups, noise_scale
from service.diagnostics.schemas.gradients import NoiseScale

ENOUGH_TO_BE_DEAD: Final = 16
"""Number of images from which activations are measured unasked, because a channel may then be called dead."""


class RunGraph(Protocol):
    """Runs one graph of one model on `images` [n, …], with `labels` by its label kind; None: as predicted."""

    def __call__(
        self, graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None
    ) -> Awaitable[dict[str, Array]]: ...


class RunToLayer(Protocol):
    """A `RunGraph` that also runs `explanation`, down to a `layer`: its place in `Bundle.layers`, or `THE_IMAGE`.

    The images may be the tensor `input` itself, float32 in its layout.
    """

    def __call__(
        self,
        graph: GraphName,
        images: Array,
        labels: NDArray[np.int64] | None = None,
        *,
        layer: int | None = None,
    ) -> Awaitable[dict[str, Array]]: ...


async def measure_gradients(
    run: RunGraph,
    bundle: Bundle,
    images: Array,
    labels: NDArray[np.int64],
    include: Collection[str] = (),
    *,
    channels_are_known: bool = False,
) -> Measured:
    """Measure the norms of `images`, and the batch gradient and activations if `include` names them.

    Saturated samples run once more for their runner-up labels, so that there is something to judge them by. Noise
    scales are measured where there is a batch gradient and a label for every image. Where `channels_are_known`, because
    the bundle's record says which are dead, activations are measured only if `include` names them.
    """
    wants_batch = "batch_gradient" in include
    norms = await run("batch_norms" if wants_batch else "weight_norms", images, labels)
    kind = kind_called(bundle.label_kind)
    settled = kind.settled(norms["logits"], labels)
    saturated = saturated_samples(kind.logit_gradient_norms(norms["logits"], settled))
    runner_up = None
    if saturated.any():
        second = kind.runner_up(norms["logits"])
        runner_up = await run("weight_norms", images[saturated], second[saturated])
    activations = None
    looks_at_channels = len(images) >= ENOUGH_TO_BE_DEAD and not channels_are_known
    if "activations" in bundle.graphs and ("activations" in include or looks_at_channels):
        activations = await run("activations", images)
    noise: list[NoiseScale] = []
    if wants_batch and len(images) > 1 and bool(kind.are_given(labels).all()):
        noise = await _noise_scales(run, images, labels, norms)
    return Measured(norms, labels, runner_up, activations, noise[:-1], noise[-1] if noise else None, kind)


async def _noise_scales(
    run: RunGraph, images: Array, labels: NDArray[np.int64], norms: dict[str, Array]
) -> list[NoiseScale]:
    """Return one noise scale per layer, then that of all layers together."""
    kept = left_out_groups(len(images))
    without = [(await run("batch_norms", images[rows], labels[rows]))["batch_gradient_norm"] ** 2 for rows in kept]
    squares, batch = norms["weight_gradient_norm"] ** 2, norms["batch_gradient_norm"] ** 2
    columns: list[Any] = [*range(len(batch)), slice(None)]
    return [
        noise_scale(
            squares[:, column].reshape(len(squares), -1).sum(axis=1),
            float(np.sum(batch[column])),
            kept,
            [float(np.sum(square[column])) for square in without],
        )
        for column in columns
    ]
