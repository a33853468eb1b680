"""The evidence of images for one label each, whichever method found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.diagnostics.explanation.steps import Steps
from service.diagnostics.schemas.explanation import Completeness


@dataclass(frozen=True)
class Evidence:
    """The evidence of N images.

    Args:
        values: [N, h, w] in float64: of grad_cam with its sign, of smooth_grad without one.
        logits: of the network on the images, [N, K].
        labels: whose logit it is for, int64 [N].
        layer: place in `Bundle.layers`; None for the picture itself.
        steps: runs per image, of the methods that take several.
        completeness: one per image, of integrated_gradients.
    """

    values: Float64
    logits: Array
    labels: NDArray[np.int64]
    layer: int | None = None
    steps: Steps | None = None
    completeness: list[Completeness] | None = None
