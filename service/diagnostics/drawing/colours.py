"""Colours of numbers. Both scales can be read with every common form of colour blindness, and in grey the first one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Pixels

VERMILION, WHITE, BLUE = (213.0, 94.0, 0.0), (255.0, 255.0, 255.0), (0.0, 114.0, 178.0)
GREY: Final = 128

SEQUENCE: Final = ((0.0, 32.0, 77.0), (124.0, 123.0, 120.0), (255.0, 234.0, 70.0))
"""Dark blue, grey, yellow: evenly brighter, and blue and yellow are confused by nobody (Nuñez et al. 2018)."""


def diverging(values: NDArray[np.floating[Any]]) -> Pixels:
    """Return colours, uint8 [rows, columns, 3], of values in −1 … 1.

    Vermilion below 0, white at 0, blue above 0, grey for NaN.
    """
    below, zero, above = np.array(VERMILION), np.array(WHITE), np.array(BLUE)
    strength = np.clip(np.nan_to_num(values), -1, 1)[..., None]
    colours = zero + np.abs(strength) * (np.where(strength < 0, below, above) - zero)
    colours[~np.isfinite(values)] = GREY
    rounded: Pixels = np.round(colours).astype(np.uint8)
    return rounded


def sequential(values: NDArray[np.floating[Any]]) -> Pixels:
    """Return colours, uint8 [rows, columns, 3], of values in 0 … 1: dark blue for 0 and NaN, yellow for 1."""
    at = np.clip(np.nan_to_num(values), 0, 1)
    stops = np.linspace(0, 1, len(SEQUENCE))
    channels = [np.interp(at, stops, [colour[channel] for colour in SEQUENCE]) for channel in range(3)]
    rounded: Pixels = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
    return rounded
