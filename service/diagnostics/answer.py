"""The whole answer of `POST /diagnostics/gradients`, for whoever can run a model's graphs: the service or a program."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle
from service.diagnostics.gradients import diagnose
from service.diagnostics.measurement import RunGraph, measure_gradients
from service.diagnostics.pictures import saliency
from service.diagnostics.quantized import about_network
from service.diagnostics.schemas.gradients import Gradients, InputGradient
from service.diagnostics.verdicts.thresholds import Thresholds


async def answer_gradients(
    run: RunGraph,
    bundle: Bundle,
    answered_by: Mapping[str, Any],
    pixels: Array,
    labels: NDArray[np.int64],
    include: Collection[str],
    thresholds: Thresholds,
) -> Gradients:
    """Measure `pixels`, uint8 [n, h, w, c], and judge the model.

    Args:
        answered_by: the fields of `AnsweredBy`; `quantized` is said here.
        labels: those of each loss, by the bundle's label kind; −1 for as predicted.
        include: what else to measure: "batch_gradient", "activations", "input_gradient".
    """
    measured = await measure_gradients(run, bundle, pixels, labels, include)
    saliencies = await input_gradients(run, bundle, pixels, labels) if "input_gradient" in include else None
    diagnosis = diagnose(bundle, measured, thresholds)
    return Gradients(
        **{**answered_by, "quantized": await about_network(run, bundle, pixels, diagnosis.samples)},
        samples=diagnosis.samples,
        layers=diagnosis.layers,
        other_parameters=diagnosis.other_parameters,
        noise_scale=measured.total_noise,
        input_gradients=saliencies,
        unlike_itself=diagnosis.unlike_itself,
        verdict=diagnosis.verdict,
        notes=list(bundle.notes),
    )


async def input_gradients(
    run: RunGraph, bundle: Bundle, pixels: Array, labels: NDArray[np.int64]
) -> list[InputGradient]:
    """Measure and picture dL/dinput of each of `pixels`, uint8 [n, h, w, c]."""
    gradient = (await run("input_gradient", pixels, labels))["input_gradient"]
    return [saliency(one, bundle.input.layout) for one in gradient]
