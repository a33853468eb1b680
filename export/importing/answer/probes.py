"""Images on which a file is run to see what its scores mean and that the bundle gives the same.

They are chosen so that a network answers differently to them, and beyond its usual range too: noise, large blots,
flat colours, faint contrast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise

SEED = 20
BLOTS = 4
SCALES = (1.0, 4.0)
"""Standard deviations of the noise that no picture gives, in multiples of the mean absolute network input."""


def pictures(spec: InputSpec) -> NDArray[np.uint8]:
    """Return the images as pixels, uint8 [n, height, width, channels]."""
    draw = np.random.default_rng(SEED)
    shape = (spec.height, spec.width, spec.channels)
    flat = [np.full(shape, value, np.uint8) for value in (0, 128, 255)]
    noise = [draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(3)]
    faint = [draw.integers(120, 137, shape, dtype=np.uint8)]
    coloured = [np.broadcast_to(draw.integers(0, 256, shape[2], dtype=np.uint8), shape) for _ in range(2)]
    rows, columns = (np.arange(size) * BLOTS // size for size in shape[:2])
    blots = [draw.integers(0, 256, (BLOTS, BLOTS, shape[2]), dtype=np.uint8)[rows][:, columns] for _ in range(3)]
    return np.stack([*noise, *blots, *faint, *coloured, *flat])


def probes(spec: InputSpec, *, bytes_only: bool = False) -> NDArray[np.float32]:
    """Return the tensor `input` of all pictures and, unless `bytes_only`, of noise that no picture gives."""
    seen = normalise(pictures(spec), spec)
    if bytes_only:
        return seen
    draw, scale = np.random.default_rng(SEED + 1), float(np.abs(seen).mean())
    beyond = [(draw.standard_normal(seen.shape[1:]) * scale * factor).astype(np.float32) for factor in SCALES]
    return np.concatenate([seen, np.stack(beyond)])
