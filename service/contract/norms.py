"""From a gradient graph's squares in float32 to norms in float64, with nothing lost to underflow or overflow.

Backpropagation is linear in the cotangent: with dL/dlogits multiplied by s, every gradient comes out
multiplied by s and every square by s². A graph is run at s = 1; where a square of some sample falls out of
float32's accurate range, the batch is run again with that sample's s larger or smaller. Each (sample, layer)
then takes the first run that measured it in range and is divided by s² in float64.

A sample's numbers depend on its own runs only: those that need no second run keep the bits of the first,
whatever their neighbours need, and NaN in one never reaches another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.outputs import OUTPUTS

Arrays = dict[str, NDArray[np.generic]]
Float64 = NDArray[np.float64]
Run = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.generic]]]
"""Execute one graph on a fixed batch with this `cotangent_scale` (float32 [samples])."""

NORM_OF_SQUARE: Final = {
    output.name: output.offered_as for output in OUTPUTS if output.kind == "square" and output.offered_as
}
"""Graph output → what it is called once it is a norm."""

LARGER_SCALES: Final = (2.0**50, 2.0**100)
SMALLER_SCALES: Final = (2.0**-50, 2.0**-100)
LEAST_ACCURATE_SQUARE: Final = 1e-26
"""Below it a sum of squares holds terms near float32's smallest normal number, 1.2e-38, and loses digits."""


def measure(run: Run, samples: int) -> Arrays:
    """Norms of a batch, run as often as its smallest and largest gradients need.

    Args:
        run: executes the graph; a square under `NORM_OF_SQUARE`, or `input_gradient`, depends on the scale.
        samples: N, the length of the batch.

    Returns:
        Norms in float64 under the names of `NORM_OF_SQUARE` ([N, L]; `batch_gradient_norm` [L], of the mean
        loss), `input_gradient` in float64, every other output as it came. 0 means 0 at scale 2¹⁰⁰; what is
        not finite at scale 2⁻¹⁰⁰ stays NaN or infinite.
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
            if common:
                wanting[:] = True
            again = run(np.where(wanting, scale, 1.0).astype(np.float32))
            if gradient is not None:
                taken = merged["input_gradient"].take(_square_of_rows(again["input_gradient"]), scale, wanting)
                gradient[taken[:, 0]] = again["input_gradient"][taken[:, 0]].astype(np.float64) / scale
            for name in squares:
                merged[name].take(again[name], scale, wanting)

    results: Arrays = {name: value for name, value in first.items() if name not in merged}
    for name in squares:
        results[NORM_OF_SQUARE[name]] = merged[name].norms()
    if common:
        results["batch_gradient_norm"] = results["batch_gradient_norm"][0] / samples
    if gradient is not None:
        results["input_gradient"] = gradient
    return results


class _Merged:
    """The best measurement so far of one output: squares [N, L] and the scale each was taken at."""

    def __init__(self, square: NDArray[np.generic], *, one_row: bool = False) -> None:
        self._square = np.atleast_2d(square).astype(np.float64)
        self._scale = np.ones_like(self._square)
        self._one_row = one_row

    def too_small(self) -> NDArray[np.bool_]:
        return self._square < LEAST_ACCURATE_SQUARE

    def too_large(self) -> NDArray[np.bool_]:
        return ~np.isfinite(self._square)

    def take(self, square: NDArray[np.generic], scale: float, wanting: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Replace what was out of range by a run at `scale`, for the samples `wanting` it; [N, L] of what was replaced.

        A run that overflowed replaces nothing.
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


def _square_of_rows(gradient: NDArray[np.generic]) -> NDArray[np.float32]:
    """‖row‖² [N, 1] in float32, as a graph would have formed it: what decides whether the gradient was in range."""
    rows = gradient.reshape(len(gradient), -1).astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square: NDArray[np.float32] = np.sum(rows * rows, axis=1, keepdims=True)
    return square


# ---------------------------------------------------------------- the loss, from the logits


SATURATED: Final = 1e-37
"""‖dL/dlogits‖ below it is 0 or denormal in the graph's float32 softmax: nothing is propagated."""


def probabilities(logits: NDArray[np.generic]) -> Float64:
    """softmax in float64: [N, K] → [N, K]; a row that is not finite becomes NaN."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(values - values.max(axis=1, keepdims=True))
        result: Float64 = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def losses(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> Float64:
    """Cross-entropy in nats, per sample: logsumexp(z) − z_label, in float64, exact where p_label is 1."""
    values = logits.astype(np.float64)
    rows = np.arange(len(values))
    with np.errstate(invalid="ignore", over="ignore"):
        differences = values - values[rows, labels][:, None]
        largest = differences.max(axis=1, keepdims=True)
        exponentials = np.exp(differences - largest)
        exponentials[rows, labels] = 0.0
        others = exponentials.sum(axis=1)
        # Where the label leads (largest is 0) log1p keeps the digits of a loss far below 1e-16.
        result: Float64 = largest[:, 0] + np.log1p(others + np.expm1(-largest[:, 0]))
    return result


def logit_gradients(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> Float64:
    """dL/dlogits = p − onehot, [N, K] in float64; the label's component as −Σ p_j of the others.

    That sum has no cancellation: a confident sample's 1e-12 stays 1e-12.
    """
    gradient = probabilities(logits)
    rows = np.arange(len(gradient))
    gradient[rows, labels] = 0.0
    gradient[rows, labels] = -gradient.sum(axis=1)
    return gradient


def loss_labels(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class each loss is taken for: `labels`, with the predicted class in place of −1."""
    return np.where(labels < 0, np.argmax(logits, axis=1), labels).astype(np.int64)
