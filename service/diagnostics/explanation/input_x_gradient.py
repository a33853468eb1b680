"""Input × gradient (Shrikumar et al. 2016): what each number of the input adds to the logit, to first order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.diagnostics.explanation.gradients import colour_axis, gradients
from service.diagnostics.measurement import RunToLayer


async def input_x_gradient(
    run: RunToLayer, bundle: Bundle, inputs: Array, labels: NDArray[np.int64]
) -> tuple[Float64, Array]:
    """Return x · dz/dx summed over the colours, [N, h, w], and the logits [N, K]; `inputs` are the tensor `input`."""
    found, logits = await gradients(run, bundle.input, inputs, labels)
    values: Float64 = (found * inputs).sum(axis=colour_axis(bundle.input))
    return values, logits
