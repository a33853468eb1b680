"""Small grey pictures of arrays, as PNG in a data URL, so that an answer stands alone."""

from __future__ import annotations

import base64
import io
from typing import Final

import numpy as np
from PIL import Image

from service.contract.arrays import Array, Float64
from service.diagnostics.schemas.gradients import InputGradient

BRIGHT: Final = 99.0
"""Percentile of a saliency picture that is white. With the maximum, single pixels would darken all others."""


def grey_png(values: Array, white: float) -> str:
    """Return a data URL of `values` [h, w]: black for 0 and NaN, white for `white` and above."""
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = np.nan_to_num(values.astype(np.float64) / white * 255.0, nan=0.0, posinf=255.0, neginf=0.0)
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def saliency(gradient: Float64, layout: str) -> InputGradient:
    """Picture dL/dinput of one sample, [c, h, w] or [h, w, c] by `layout`.

    Each position shows the largest |dL/dinput| of its channels (Simonyan et al. 2013).
    """
    magnitude = np.abs(gradient).max(axis=0 if layout == "nchw" else 2)
    finite = magnitude[np.isfinite(magnitude)]
    white = float(np.percentile(finite, BRIGHT)) if finite.size else 0.0
    return InputGradient(norm=float(np.linalg.norm(gradient)), picture=grey_png(magnitude, white or 1.0))
