"""The methods: each finds the evidence of images for one label each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle
from service.diagnostics.explanation.asked import Asked, check_explainable, layer_of
from service.diagnostics.explanation.evidence import Evidence
from service.diagnostics.explanation.grad_cam import grad_cam
from service.diagnostics.explanation.gradients import settled
from service.diagnostics.explanation.input_x_gradient import input_x_gradient
from service.diagnostics.explanation.integrated_gradients import integrated_gradients
from service.diagnostics.explanation.smooth_grad import smooth_grad
from service.diagnostics.explanation.steps import Fitting, Steps, steps_of
from service.diagnostics.measurement import RunToLayer
from service.images.preprocess import normalise


async def evidence(
    run: RunToLayer,
    bundle: Bundle,
    pixels: Array,
    labels: NDArray[np.int64],
    asked: Asked,
    fitting: Fitting | None = None,
) -> Evidence:
    """Find the evidence for one label in each image.

    Args:
        pixels: uint8 [N, h, w, c], or the tensor `input`.
        labels: whose logit is explained, int64 [N]; −1 for the label with the largest logit.
        fitting: how many images there is time for; None without a deadline.

    Raises:
        NotExplainable, InvalidParameter: the model has no such explanation.
        NoTime: there is no time for so many steps.
    """
    check_explainable(bundle)
    if asked.method == "grad_cam":
        layer = layer_of(bundle, asked.layer)
        values, logits = await grad_cam(run, bundle, pixels, labels, layer)
        return Evidence(values, logits, settled(logits, labels), layer)
    inputs = normalise(pixels, bundle.input) if pixels.dtype == np.uint8 else pixels
    if asked.method == "input_x_gradient":
        values, logits = await input_x_gradient(run, bundle, inputs, labels)
        return Evidence(values, logits, settled(logits, labels))

    def steps_after(ran: int, seconds: float) -> Steps:
        fits = None if fitting is None else fitting(ran, seconds)
        return steps_of(asked.method, asked.steps, len(inputs), fits)

    method = smooth_grad if asked.method == "smooth_grad" else integrated_gradients
    return await method(run, bundle, inputs, labels, steps_after)
