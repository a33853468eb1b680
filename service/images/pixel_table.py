"""All values that `normalise` can give for a bundle: a device looks pixels up in them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from service.contract.bundle_schema import InputSpec
from service.contract.runtime.gpu.pixel_graph import LEVELS, PixelTable
from service.images.preprocess import normalise


@lru_cache(maxsize=256)
def pixel_table(spec: InputSpec) -> PixelTable:
    """Return the table of a bundle, made by `normalise` itself: one column for each value of a pixel."""
    levels = np.broadcast_to(np.arange(LEVELS, dtype=np.uint8)[:, None], (1, 1, LEVELS, spec.channels))
    plane = normalise(levels, spec)[0]
    values = plane[:, 0, :] if spec.layout == "nchw" else plane[0].T
    channels = range(spec.channels)
    order = tuple(reversed(channels)) if spec.channel_order == "bgr" else tuple(channels)
    return PixelTable(np.ascontiguousarray(values), order, spec.layout)
