"""Judgement of a file's scores: logits, or probabilities of some form, from which logits are made for the engine.

`/predict` answers softmax(logits), and the loss is −ln of the label's probability. So the logits of a network
that ends in a Softmax are what the Softmax reads, and those of a network that answers probabilities in another
way are their logarithms (`logarithms.py`). The graph decides what scores are where it is plain; elsewhere their
values on the probes do:

    scores                                              are taken for
    never negative, with the same sum for every image   probabilities, times that sum (1, or 100 for percent)
    never negative, with a changing sum, computed       probabilities that are to be divided by their sum, such as
      from exponentials and the like                      a part of a Softmax or weighted classes
    several Sigmoids                                    labels that do not exclude each other: refused
    one number in [0, 1]                                the probability of the second of two labels
    one other number                                    the logit of the second of two labels
    anything else                                       logits
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing.answer.appended import Appended
from export.importing.answer.logarithms import FACTORS, MOVED, PASSED, SMALLEST, Logarithms

ROUNDING_OF_SUM = 1e-5  # error of a sum of 1 in float32
UNIT_TOLERANCE = 1e-3  # error of a sum of 1 in half precision, or of a thousand clipped classes
SUM_TOLERANCE = 1e-4  # relative error of sums other than 1
TOLD_APART = 1e-2  # scores that change by less between images do not show what they are
ROUNDING = 1e-6  # sums and differences of probabilities may exceed 1 or fall below 0 by this

GIVEN = "the file answers probabilities, not logits: /predict returns them, and gradients are those of −ln of them"
FLOORED = f"{GIVEN} (of {SMALLEST:.1e} where they are smaller)"
DIVIDED = (
    "the file's scores are positive and their sum changes: /predict divides them by it, and gradients are those of −ln "
    "of the quotients"
)
LOGITS = "the file's scores are never negative, but their sum changes: they are taken for logits"
ONE_PROBABILITY = "the file's one score is the probability of the second label"
ONE_LOGIT = "the file's one score is taken for the logit of the second label: its probability is the score's sigmoid"


@dataclass(frozen=True)
class Judgement:
    """The meaning that a file's scores were found to have.

    - `logits`: the name of the tensor of logits, [N, K] once it is flattened.
    - `probabilities`: what `/predict` must answer to the M probes, float64 [M, K]; NaN in rows where the file's own
      answer is not finite.
    - `note`: for whoever reads the norms.
    """

    logits: str
    probabilities: NDArray[np.float64]
    note: str | None


def judge(scores: NDArray[Any], output: str, logarithms: Logarithms, added: Appended) -> Judgement:
    """Judge the tensor `output`, which had the values `scores` [M, K] on the probes, and add its logits to `added`.

    Raises UnsupportedGraph for several Sigmoids, and where no answer is finite.
    """
    output, rows = logarithms.unshaped(output), scores.astype(np.float64)
    rows[np.isnan(rows).any(axis=1) | np.isposinf(rows).any(axis=1)] = np.nan
    known = rows[~np.isnan(rows).any(axis=1)]
    if not len(known):
        raise UnsupportedGraph("the file's own answer is NaN or infinite whatever the picture")
    if rows.shape[1] == 1:
        return _of_one_score(rows, known, output, logarithms, added)
    behind = logarithms.scores(output)
    positive = bool((known >= -ROUNDING * np.abs(known).max(axis=1, keepdims=True)).all())
    last = logarithms.behind(output, PASSED | MOVED | FACTORS | {"Clip"})
    with_own_labels = last is not None and last.operator in ("Sigmoid", "HardSigmoid")
    if positive and _of_one_sum(known) and not (with_own_labels and _spread(known) < TOLD_APART):
        if behind is None:
            return Judgement(logarithms.floored(output), _shares(rows), FLOORED)
        return Judgement(behind, _shares(rows), None if logarithms.is_plain(output) else GIVEN)
    if last is not None and with_own_labels:
        raise UnsupportedGraph(
            f"the model ends in {last.operator} (node {last.name!r}), not in scores of exclusive classes; "
            f"name the tensor of logits with --output (here perhaps {last.inputs[0]!r})"
        )
    if positive and behind is not None:
        return Judgement(behind, _shares(rows), DIVIDED)
    return Judgement(logarithms.logits(output) or output, softmax(rows), LOGITS if positive else None)


def _of_one_score(
    rows: NDArray[Any], known: NDArray[Any], output: str, logarithms: Logarithms, added: Appended
) -> Judgement:
    """Make logits [N, 2] of two labels: [ln(1 − p), ln p] from a probability p, [0, x] from a logit x."""
    column = added.constant([-1, 1])
    two = np.hstack([1 - rows, rows])
    complement, own = logarithms.complement(output), logarithms.exact(output)
    if complement is not None and own is not None:
        columns = [added.op("Reshape", part, column) for part in (complement, own)]
        return Judgement(added.op("Concat", *columns, axis=1), two, ONE_PROBABILITY)
    score = added.op("Reshape", output, column)
    if known.min() >= -ROUNDING and known.max() <= 1 + ROUNDING:
        pair = added.op("Concat", added.op("Sub", added.constant(1.0), score), score, axis=1)
        return Judgement(logarithms.floored(pair), _shares(two), ONE_PROBABILITY)
    pair = added.op("Mul", score, added.constant([[0.0, 1.0]]))
    return Judgement(pair, softmax(np.hstack([np.zeros_like(rows), rows])), ONE_LOGIT)


def _of_one_sum(rows: NDArray[Any]) -> bool:
    """Tell whether positive scores sum to 1, or to one other number while the scores themselves change."""
    sums = rows.sum(axis=1)
    if sums.min() <= 0 or np.abs(sums - 1).max() <= ROUNDING_OF_SUM:
        return bool(sums.min() > 0)
    is_unit = np.abs(sums - 1).max() <= UNIT_TOLERANCE
    return bool(np.ptp(sums) <= min(UNIT_TOLERANCE if is_unit else SUM_TOLERANCE * sums.mean(), _spread(rows) / 100))


def _spread(rows: NDArray[Any]) -> float:
    """Return the distance of scores from their mean over the images, summed over classes, where it is largest."""
    return float(np.abs(rows - rows.mean(axis=0)).sum(axis=1).max())


def _shares(rows: NDArray[Any]) -> NDArray[np.float64]:
    positive = np.maximum(rows, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))


def softmax(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax of float64 rows [M, K]; a row with a NaN becomes NaN."""
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
