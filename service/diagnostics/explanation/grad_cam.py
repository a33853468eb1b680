"""Grad-CAM (Selvaraju et al. 2017): the channels of a layer's map, each weighted by its mean gradient, and summed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.diagnostics.measurement import RunToLayer


async def grad_cam(
    run: RunToLayer, bundle: Bundle, images: Array, labels: NDArray[np.int64], layer: int
) -> tuple[Float64, Array]:
    """Return the evidence at each position of a layer's map, and the logits [N, K].

    The evidence is Σ_c g_c·A_c with its sign, [N, h, w], where A is the layer's map and g_c the mean of dz/dA_c over
    the positions. The method's own map leaves out what is below 0.

    Args:
        layer: place in `Bundle.layers` of a layer that has a map.
    """
    outputs = await run("explanation", images, labels, layer=layer)
    size = bundle.layers[layer].map_size
    assert size is not None, "layer_of() chooses layers that have a map"
    return outputs["layer_evidence"].reshape(-1, *size), outputs["logits"]
