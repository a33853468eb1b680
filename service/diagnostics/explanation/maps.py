"""Maps: at the picture's size, how much of them speaks for the label, and where they are largest."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from service.contract.arrays import Float64
from service.diagnostics.schemas.explanation import EvidenceMap

DIGITS: Final = 5
"""Decimals of an interpolated map, relative to its largest number: more would only make the answer longer."""

ROWS: Final = ("upper", "", "lower")
COLUMNS: Final = ("left", "", "right")


def as_map(values: Float64) -> EvidenceMap:
    """Return [h, w] as a map."""
    return EvidenceMap(height=values.shape[0], width=values.shape[1], values=values.tolist())


def at_picture_size(values: Float64, height: int, width: int) -> Float64:
    """Return [h, w] interpolated to [height, width], linearly between the middles of its positions.

    Outside the outermost middles it is constant. So OpenCV's `INTER_LINEAR` and torch's `bilinear` do.
    """
    return interpolated(values, (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width)


def interpolated(values: Float64, rows: Float64, columns: Float64) -> Float64:
    """Return [h, w] at rows and columns that are given as parts of its height and width, 0 to 1.

    Where the map has a number that is not finite, all of the result is NaN.
    """
    with np.errstate(invalid="ignore"):
        result: Float64 = _between(values.shape[0], rows) @ values @ _between(values.shape[1], columns).T
    return result


def shortened(values: Float64) -> Float64:
    """Return the values without digits that nobody sees."""
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < math.inf:
        return values
    decimals = DIGITS - math.ceil(math.log10(largest))
    rounded: Float64 = np.round(values, decimals) if abs(decimals) < 300 else values
    return rounded


def positive_share(values: Float64) -> float | None:
    """Return the sum of what is above 0 over the sum of all magnitudes, 0 to 1; None where all is 0."""
    total = float(np.abs(values).sum())
    return float(np.maximum(values, 0).sum()) / total if total != 0 else None


def place_of_largest(values: Float64) -> str:
    """Return where [h, w] is largest, in words: `upper left`, `middle`, `right`."""
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    third = [min(2, int((at + 0.5) / size * 3)) for at, size in zip((row, column), values.shape, strict=True)]
    words = [ROWS[third[0]], COLUMNS[third[1]]]
    return " ".join(word for word in words if word) or "middle"


def _between(size: int, places: Float64) -> Float64:
    """Return the weights [places, size] of linear interpolation between the middles of `size` equal parts of 0 to 1."""
    at = np.clip(places * size - 0.5, 0, size - 1)
    first = np.minimum(at.astype(int), max(0, size - 2))
    weights = np.zeros((len(places), size))
    rows = np.arange(len(places))
    weights[rows, first] = 1 - (at - first)
    weights[rows, np.minimum(first + 1, size - 1)] += at - first
    return weights
