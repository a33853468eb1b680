"""From the squared norms of a gradient graph, in float32, to norms in float64 without underflow or overflow.

Backpropagation is linear in the cotangent. If dL/dlogits is multiplied by s, every gradient is multiplied by s and
every squared norm by s². A graph first runs at s = 1. Where a square of some sample is out of float32's accurate
range, the batch runs again with a larger or smaller s for that sample. Each pair of sample and layer takes its value
from the first run in which it was in range, divided by s² in float64.

The numbers of a sample depend on its own runs only. A sample that needs no second run keeps the bits of the first,
whatever its neighbours need, and a NaN in one sample never reaches another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.outputs import OUTPUTS, Output

Outputs = dict[str, Array]
Run = Callable[[NDArray[np.float32]], Mapping[str, Array]]
"""Runs one graph on a fixed batch with the given `cotangent_scale`, float32 [N]."""

SCALED: Final = {output.name: output for output in OUTPUTS if output.kind != "value" and output.offered_as}
"""The outputs that depend on the scale, by name."""

LARGER_SCALES: Final = (2.0**50, 2.0**100)
SMALLER_SCALES: Final = (2.0**-50, 2.0**-100)
LEAST_ACCURATE_SQUARE: Final = 1e-26
"""A smaller sum of squares has terms near float32's smallest normal number, 1.2e-38, and so loses digits."""


def measure(run: Run, samples: int) -> Outputs:
    """Measure the norms of a batch in as many runs as its smallest and largest gradients need.

    Args:
        run: executes the graph; the outputs in `SCALED` depend on the scale.
        samples: N, the size of the batch.

    Returns:
        The outputs in `SCALED` in float64, under the names that the service gives them and in the shapes of the
        table: norms in place of squares, gradients as they are. Those without an axis of samples are of the mean
        loss. Every other output as it came. A norm of 0 was 0 at scale 2¹⁰⁰ too; what is not finite at scale 2⁻¹⁰⁰
        stays NaN or infinite.
    """
    first = run(np.ones(samples, np.float32))
    measured = {name: _Measured(SCALED[name], value) for name, value in first.items() if name in SCALED}
    common = not all(one.output.has_samples for one in measured.values())

    for scales, needs in ((LARGER_SCALES, _Measured.too_small), (SMALLER_SCALES, _Measured.too_large)):
        for scale in scales:
            wanting = _samples_that_need(measured.values(), needs, samples)
            if not wanting.any():
                break
            if common:  # the batch gradient adds up all samples, so they must have the same scale
                wanting[:] = True
            again = run(np.where(wanting, scale, 1.0).astype(np.float32))
            for name, one in measured.items():
                one.take(again[name], scale, wanting)

    results: Outputs = {name: value for name, value in first.items() if name not in measured}
    for one in measured.values():
        # The graph sums the losses of the batch; what belongs to the batch is reported for their mean.
        results[one.name] = one.result() if one.output.has_samples else one.result() / samples
    return results


class _Measured:
    """The best measurement so far of one output.

    `_square` is what must be in range: the squares of a square, the square of each row of a gradient. It is
    [rows, columns], with one row for every sample, or a single row for what belongs to the batch. `_scale` has the
    scale at which each was measured.
    """

    def __init__(self, output: Output, value: Array) -> None:
        self.output, self.name = output, output.offered_as or output.name
        self._shape = value.shape
        self._square = self._squares(value)
        self._scale = np.ones_like(self._square)
        self._gradient = self._rows(value).astype(np.float64) if output.kind == "gradient" else None

    def too_small(self) -> NDArray[np.bool_]:
        # No number at all is none that is too small: the square of an empty row is 0 at every scale.
        return (self._square < LEAST_ACCURATE_SQUARE) & (math.prod(self._shape[1:]) > 0)

    def too_large(self) -> NDArray[np.bool_]:
        return ~np.isfinite(self._square)

    def take(self, value: Array, scale: float, wanting: NDArray[np.bool_]) -> None:
        """Replace what was out of range by the values of a run at `scale`, in the rows of `wanting` samples.

        What is not finite in the new run replaces nothing.
        """
        square = self._squares(value)
        rows = wanting[:, None] if self.output.has_samples else np.ones((1, 1), bool)
        out_of_range = self.too_small() if scale > 1 else self.too_large()
        taken: NDArray[np.bool_] = rows & out_of_range & np.isfinite(square)
        self._square = np.where(taken, square, self._square)
        self._scale = np.where(taken, scale, self._scale)
        if self._gradient is not None:
            replaced = taken[:, 0]
            self._gradient[replaced] = self._rows(value)[replaced].astype(np.float64) / scale

    def result(self) -> Float64:
        """Return the norms, or the gradient, in the output's own shape."""
        result: Float64 = np.sqrt(self._square) / self._scale if self._gradient is None else self._gradient
        return result.reshape(self._shape)

    def _rows(self, value: Array) -> Array:
        return value.reshape(len(value) if self.output.has_samples else 1, -1)

    def _squares(self, value: Array) -> Float64:
        rows = self._rows(value)
        return (_square_of_rows(rows) if self.output.kind == "gradient" else rows).astype(np.float64)


def _samples_that_need(
    measured: Iterable[_Measured], needs: Callable[[_Measured], NDArray[np.bool_]], samples: int
) -> NDArray[np.bool_]:
    wanting = np.zeros(samples, bool)
    for one in measured:
        wanting |= needs(one).any(axis=1)
    return wanting


def _square_of_rows(rows: Array) -> NDArray[np.float32]:
    """Return ‖row‖² of each row, [rows, 1].

    In float32, as a graph would have formed it: this number decides whether the gradient was in range.
    """
    rows = rows.astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square: NDArray[np.float32] = np.sum(rows * rows, axis=1, keepdims=True)
    return square
