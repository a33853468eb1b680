"""SmoothGrad (Smilkov et al. 2017): the mean gradient of copies of the picture with noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.diagnostics.explanation.evidence import Evidence
from service.diagnostics.explanation.gradients import (
    StepsAfter,
    colour_axis,
    first_run,
    in_parts,
    weighted_gradient,
)
from service.diagnostics.measurement import RunToLayer

NOISE: Final = 0.15
"""Standard deviation of the noise, as a part of the range of the input's numbers: between the paper's 10 and 20 %."""


async def smooth_grad(
    run: RunToLayer, bundle: Bundle, inputs: Array, labels: NDArray[np.int64], steps_after: StepsAfter
) -> Evidence:
    """Average the gradient over noisy copies of each of the inputs, which are the tensor `input`.

    The noise is always the same, so that an image has the same map alone and among others. Each position shows the
    largest |mean gradient| of its colours.
    """
    spec = bundle.input
    start = await first_run(run, inputs, inputs[:0], labels, steps_after)
    means = [
        await weighted_gradient(run, spec, _copies(one, start.steps.count), label)
        for one, label in zip(inputs, start.labels.tolist(), strict=True)
    ]
    values: Float64 = np.abs(np.stack(means)).max(axis=colour_axis(spec))
    return Evidence(values, start.logits, start.labels, steps=start.steps)


def _copies(one: Array, steps: int) -> Iterator[tuple[Array, Float64]]:
    """Yield noisy copies of `one`, some at a time, with their weights."""
    noise, deviation = np.random.default_rng(0), np.float32(NOISE * float(np.ptp(one)))
    for part in in_parts(steps, one.shape):
        count = part.stop - part.start
        yield one + deviation * noise.standard_normal((count, *one.shape), np.float32), np.full(count, 1 / steps)
