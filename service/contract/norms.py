"""From the squared norms of a gradient graph, in float32, to norms in float64 without underflow or overflow.

Backpropagation is linear in the cotangent. If dL/dlogits is multiplied by s, every gradient is multiplied by s and
every squared norm by s². A graph first runs at s = 1. Where a square of some sample is out of float32's accurate
range, the batch runs again with a larger or smaller s for that sample. Each pair of sample and layer takes its value
from the first run in which it was in range, divided by s² in float64.

The numbers of a sample depend on its own runs only. A sample that needs no second run keeps the bits of the first,
whatever its neighbours need, and a NaN in one sample never reaches another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.outputs import OUTPUTS

Outputs = dict[str, Array]
Run = Callable[[NDArray[np.float32]], Mapping[str, Array]]
"""Runs one graph on a fixed batch with the given `cotangent_scale`, float32 [N]."""

NORM_OF_SQUARE: Final = {
    output.name: output.offered_as for output in OUTPUTS if output.kind == "square" and output.offered_as
}
"""Name of a graph output → name of the norm that is made of it."""

LARGER_SCALES: Final = (2.0**50, 2.0**100)
SMALLER_SCALES: Final = (2.0**-50, 2.0**-100)
LEAST_ACCURATE_SQUARE: Final = 1e-26
"""A smaller sum of squares has terms near float32's smallest normal number, 1.2e-38, and so loses digits."""


def measure(run: Run, samples: int) -> Outputs:
    """Measure the norms of a batch in as many runs as its smallest and largest gradients need.

    Args:
        run: executes the graph; the outputs in `NORM_OF_SQUARE` and `input_gradient` depend on the scale.
        samples: N, the size of the batch.

    Returns:
        Norms in float64 under the names of `NORM_OF_SQUARE` ([N, L]; `batch_gradient_norm` is [L], of the mean
        loss), `input_gradient` in float64, and every other output as it came. A norm of 0 was 0 at scale 2¹⁰⁰ too;
        what is not finite at scale 2⁻¹⁰⁰ stays NaN or infinite.
    """
    first = dict(run(np.ones(samples, np.float32)))
    squares = [name for name in NORM_OF_SQUARE if name in first]
    common = "batch_square" in first
    merged = {name: _Merged(first[name], one_row=name == "batch_square") for name in squares}
    if "input_gradient" in first:
        merged["input_gradient"] = _Merged(_square_of_rows(first["input_gradient"]))
    gradient = first["input_gradient"].astype(np.float64) if "input_gradient" in first else None

    for scales, needs in ((LARGER_SCALES, _Merged.too_small), (SMALLER_SCALES, _Merged.too_large)):
        for scale in scales:
            wanting = _samples_that_need(merged.values(), needs, samples)
            if not wanting.any():
                break
            if common:  # the batch gradient adds up all samples, so they must have the same scale
                wanting[:] = True
            again = run(np.where(wanting, scale, 1.0).astype(np.float32))
            if gradient is not None:
                taken = merged["input_gradient"].take(_square_of_rows(again["input_gradient"]), scale, wanting)
                gradient[taken[:, 0]] = again["input_gradient"][taken[:, 0]].astype(np.float64) / scale
            for name in squares:
                merged[name].take(again[name], scale, wanting)

    results: Outputs = {name: value for name, value in first.items() if name not in merged}
    for name in squares:
        results[NORM_OF_SQUARE[name]] = merged[name].norms()
    if common:
        # The graph sums the losses of the batch; the norm is of their mean.
        results["batch_gradient_norm"] = results["batch_gradient_norm"][0] / samples
    if gradient is not None:
        results["input_gradient"] = gradient
    return results


class _Merged:
    """The best measurement so far of one output: squares [N, L], and the scale at which each was measured."""

    def __init__(self, square: Array, *, one_row: bool = False) -> None:
        self._square = np.atleast_2d(square).astype(np.float64)
        self._scale = np.ones_like(self._square)
        self._one_row = one_row

    def too_small(self) -> NDArray[np.bool_]:
        return self._square < LEAST_ACCURATE_SQUARE

    def too_large(self) -> NDArray[np.bool_]:
        return ~np.isfinite(self._square)

    def take(self, square: Array, scale: float, wanting: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Replace values that were out of range by those of a run at `scale`, in the rows of `wanting` samples.

        A value that is not finite in the new run replaces nothing.

        Returns:
            Which values were replaced, [N, L].
        """
        square = np.atleast_2d(square).astype(np.float64)
        rows = np.ones((1, 1), bool) if self._one_row else wanting[:, None]
        out_of_range = self.too_small() if scale > 1 else self.too_large()
        taken: NDArray[np.bool_] = rows & out_of_range & np.isfinite(square)
        self._square = np.where(taken, square, self._square)
        self._scale = np.where(taken, scale, self._scale)
        return taken

    def norms(self) -> Float64:
        norms: Float64 = np.sqrt(self._square) / self._scale
        return norms


def _samples_that_need(
    merged: Iterable[_Merged], needs: Callable[[_Merged], NDArray[np.bool_]], samples: int
) -> NDArray[np.bool_]:
    wanting = np.zeros(samples, bool)
    for one in merged:
        wanting |= needs(one).any(axis=1)
    return wanting


def _square_of_rows(gradient: Array) -> NDArray[np.float32]:
    """Return ‖row‖² of each row, [N, 1].

    In float32, as a graph would have formed it: this number decides whether the gradient was in range.
    """
    rows = gradient.reshape(len(gradient), -1).astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square: NDArray[np.float32] = np.sum(rows * rows, axis=1, keepdims=True)
    return square
