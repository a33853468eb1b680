"""Integrated gradients (Sundararajan et al. 2017): the gradient along the straight path from a baseline, integrated.

For the input x and the baseline 0, the evidence of each number of the input is x · ∫ dz/dx(t·x) dt from 0 to 1. The
integral is taken by Gauss and Legendre's rule, which is exact for polynomials of a degree of up to 2·steps − 1. All
evidence together is z(x) − z(0): completeness, which says how well the integral was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle, InputSpec
from service.diagnostics.explanation.evidence import Evidence
from service.diagnostics.explanation.gradients import (
    StepsAfter,
    colour_axis,
    first_run,
    in_parts,
    weighted_gradient,
)
from service.diagnostics.explanation.sentences import how_complete
from service.diagnostics.measurement import RunToLayer
from service.diagnostics.schemas.explanation import Completeness

COMPLETE: Final = 0.01
"""Relative error up to which completeness holds."""


async def integrated_gradients(
    run: RunToLayer, bundle: Bundle, inputs: Array, labels: NDArray[np.int64], steps_after: StepsAfter
) -> Evidence:
    """Integrate along the path from the baseline to each of the inputs, which are the tensor `input`."""
    spec = bundle.input
    start = await first_run(run, inputs, np.zeros_like(inputs[:1]), labels, steps_after)
    evidence = []
    for one, label in zip(inputs, start.labels.tolist(), strict=True):
        mean = await weighted_gradient(run, spec, _points(one, start.steps.count), label)
        evidence.append(one * mean)
    found = np.stack(evidence)
    completeness = [
        _completeness(spec, float(logits[label]), float(start.extra[0, label]), float(own.sum()))
        for own, logits, label in zip(found, start.logits, start.labels, strict=True)
    ]
    values = found.sum(axis=colour_axis(spec))
    return Evidence(values, start.logits, start.labels, steps=start.steps, completeness=completeness)


def _points(one: Array, steps: int) -> Iterator[tuple[Array, Float64]]:
    """Yield inputs of the path to `one`, some at a time, with their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    at = ((nodes + 1) / 2).astype(np.float32).reshape(-1, *[1] * one.ndim)
    for part in in_parts(steps, one.shape):
        yield at[part] * one, weights[part] / 2


def _completeness(spec: InputSpec, logit: float, baseline_logit: float, evidence_sum: float) -> Completeness:
    difference = logit - baseline_logit
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(np.abs(np.float64(evidence_sum) - difference) / np.abs(np.float64(difference)))
    holds = error <= COMPLETE
    return Completeness(
        baseline=baseline_in_words(spec),
        baseline_logit=baseline_logit,
        difference=difference,
        evidence_sum=evidence_sum,
        relative_error=error,
        holds=holds,
        because=how_complete(difference, evidence_sum, error, COMPLETE, holds=holds),
    )


def baseline_in_words(spec: InputSpec) -> str:
    """Return which picture an input of zeros is: one of a single colour, which the preprocessing subtracts."""
    colour = ", ".join(f"{255 * mean:.0f}" for mean in spec.mean)
    of = "grey" if spec.channels == 1 else "red, green and blue"
    return f"an input of zeros: a picture of one colour, {of} {colour} of 255"
