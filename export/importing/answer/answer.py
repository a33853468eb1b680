"""A file's answer is logits, or probabilities in whatever form; here it is judged, and made logits for the engine.

`/predict` answers softmax(logits), and the loss is −ln of the label's part of it. So a network that
ends in a Softmax gives what went into it, and one that answers probabilities in another way their
logarithms (`logarithms.py`). What it answers is judged by its graph where that is plain, and by its
numbers on the probes where it is not:

    never negative, of one sum whatever the picture     probabilities (of that sum: 1, 100 for percent)
    never negative, of changing sum, but made of        probabilities, to be divided by their sum: a part of a
      exponentials and the like by rules we know          Softmax, weighted classes
    several Sigmoids                                    refused: labels that do not exclude each other
    one number in [0, 1]                                the second of two labels' probability
    one other number                                    its logit
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

Array = NDArray[Any]

ROUNDING_OF_SUM = 1e-5  # a sum of 1 in float32
UNIT_TOLERANCE = 1e-3  # a sum of 1 in half precision, or of a thousand clipped classes
SUM_TOLERANCE = 1e-4  # relative, of sums other than 1
TOLD_APART = 1e-2  # scores that change by less from picture to picture say nothing of what they are
ROUNDING = 1e-6  # sums and differences of probabilities may come out so far above 1 and below 0

GIVEN = "the file answers probabilities, not logits: /predict gives them, gradients are of −ln of them"
FLOORED = f"{GIVEN} (of {SMALLEST:.1e} where they are smaller)"
DIVIDED = "the file's scores are positive, of no constant sum: /predict divides them by it, gradients are of −ln of it"
LOGITS = "the file's scores are never negative, of no constant sum: they are taken for logits"
ONE_PROBABILITY = "the file's one score is the probability of the second label"
ONE_LOGIT = "the file's one score is taken for the logit of the second label: its probability is the score's sigmoid"


@dataclass(frozen=True)
class Answer:
    """`logits`: the tensor of logits, [N, K] once it is flattened.

    `probabilities` float64 [M, K]: what /predict has to say of the M probes, NaN in rows where the file
    itself says nothing. `note` is for whoever reads the norms.
    """

    logits: str
    probabilities: NDArray[np.float64]
    note: str | None


def understood(scores: Array, output: str, logarithms: Logarithms, added: Appended) -> Answer:
    """Judge the tensor `output`, which was `scores` [M, K] on the probes, and add its logits to `added`.

    Raises UnsupportedGraph for several Sigmoids, and where no answer is a number.
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
            return Answer(logarithms.floored(output), _shares(rows), FLOORED)
        return Answer(behind, _shares(rows), None if logarithms.is_plain(output) else GIVEN)
    if last is not None and with_own_labels:
        raise UnsupportedGraph(
            f"the model ends in {last.operator} (node {last.name!r}), not in scores of exclusive classes; "
            f"name the tensor of logits with --output (here perhaps {last.inputs[0]!r})"
        )
    if positive and behind is not None:
        return Answer(behind, _shares(rows), DIVIDED)
    return Answer(logarithms.logits(output) or output, softmax(rows), LOGITS if positive else None)


def _of_one_score(rows: Array, known: Array, output: str, logarithms: Logarithms, added: Appended) -> Answer:
    """Logits [N, 2] of two labels: [ln(1 − p), ln p] of a probability, [0, x] of a logit."""
    column = added.constant([-1, 1])
    two = np.hstack([1 - rows, rows])
    complement, own = logarithms.complement(output), logarithms.exact(output)
    if complement is not None and own is not None:
        columns = [added.op("Reshape", part, column) for part in (complement, own)]
        return Answer(added.op("Concat", *columns, axis=1), two, ONE_PROBABILITY)
    score = added.op("Reshape", output, column)
    if known.min() >= -ROUNDING and known.max() <= 1 + ROUNDING:
        pair = added.op("Concat", added.op("Sub", added.constant(1.0), score), score, axis=1)
        return Answer(logarithms.floored(pair), _shares(two), ONE_PROBABILITY)
    pair = added.op("Mul", score, added.constant([[0.0, 1.0]]))
    return Answer(pair, softmax(np.hstack([np.zeros_like(rows), rows])), ONE_LOGIT)


def _of_one_sum(rows: Array) -> bool:
    """True for scores that are never negative and sum to 1, or to one other number while they themselves change."""
    sums = rows.sum(axis=1)
    if sums.min() <= 0 or np.abs(sums - 1).max() <= ROUNDING_OF_SUM:
        return bool(sums.min() > 0)
    is_unit = np.abs(sums - 1).max() <= UNIT_TOLERANCE
    return bool(np.ptp(sums) <= min(UNIT_TOLERANCE if is_unit else SUM_TOLERANCE * sums.mean(), _spread(rows) / 100))


def _spread(rows: Array) -> float:
    """The distance of scores from their mean, summed over the classes, on the picture where it is largest."""
    return float(np.abs(rows - rows.mean(axis=0)).sum(axis=1).max())


def _shares(rows: Array) -> NDArray[np.float64]:
    positive = np.maximum(rows, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))


def softmax(rows: Array) -> NDArray[np.float64]:
    """Return the softmax of float64 rows [M, K]; a row with a NaN becomes NaN."""
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
