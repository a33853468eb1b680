"""Pictures that a stranger's classifier is asked about before its file is believed.

They are drawn so that a network answers differently to them, and far from its usual range too: noise,
soft blots, flat colours, faint contrast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise

Array = NDArray[Any]

SEED = 20
BLOTS = 4
SCALES = (1.0, 4.0)
"""Standard deviations of the noise that is no picture, in the network's own input."""


def pictures(spec: InputSpec) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channels]."""
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
    """The tensor `input` of all pictures and, unless `bytes_only`, of noise beyond what pictures can be."""
    seen = normalise(pictures(spec), spec)
    if bytes_only:
        return seen
    draw, scale = np.random.default_rng(SEED + 1), float(np.abs(seen).mean())
    beyond = [(draw.standard_normal(seen.shape[1:]) * scale * factor).astype(np.float32) for factor in SCALES]
    return np.concatenate([seen, np.stack(beyond)])
