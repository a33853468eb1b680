"""Judgement of a file's scores: logits, or probabilities of some form, from which logits are made for the engine.

`/predict` answers softmax(logits), and the loss is −ln of the label's probability. So the logits of a network
that ends in a Softmax are what the Softmax reads, and those of a network that answers probabilities in another
way are their logarithms (`logarithms.py`). The graph decides what scores are where it is plain; elsewhere their
values on the probes do:

    scores                                              are taken for
    never negative, with the same sum for every image   probabilities, times that sum (1, or 100 for percent)
    never negative, with a changing sum, computed       probabilities that are to be divided by their sum, such as
      from exponentials and the like                      a part of a Softmax or weighted classes
    several Sigmoids                                    labels that do not exclude each other (`independent.py`)
    as many sums of 1 as Softmaxes stand side by side   several questions at once: refused
    −ln of numbers that sum to 1, or log₂, log₁₀        those logarithms, times what makes them ln
    anything else                                       logits
    NaN or infinite for every probe                     what the graph says: sigmoids, probabilities, or logits

`single.py` judges a file's one score, which is for two labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing.answer.appended import Appended
from export.importing.answer.independent import as_stated, has_labels_of_their_own, of_sigmoids
from export.importing.answer.logarithms import MOVED, PASSED, SMALLEST, Logarithms
from export.importing.answer.meaning import ROUNDING, Judgement, shares, softmax
from export.importing.answer.single import of_one_score
from export.importing.flags.errors import OptionMismatch
from service.contract.bundle_schema import LabelKindName

ROUNDING_OF_SUM = 1e-5  # error of a sum of 1 in float32
UNIT_TOLERANCE = 1e-3  # error of a sum of 1 in half precision, or of a thousand clipped classes
SUM_TOLERANCE = 1e-4  # relative error of sums other than 1
TOLD_APART = 1e-2  # scores that change by less between images do not show what they are

GIVEN = "the file answers probabilities, not logits: /predict returns them, and gradients are those of −ln of them"
FLOORED = f"{GIVEN} (of {SMALLEST:.1e} where they are smaller)"
DIVIDED = (
    "the file's scores are positive and their sum changes: /predict divides them by it, and gradients are those of −ln "
    "of the quotients"
)
LOGITS = "the file's scores are never negative, but no shares of one sum: they are taken for logits"
BOUNDED = "the file's scores end in a Tanh, between −1 and 1: they are taken for logits"
NEVER_FINITE = (
    "the file's own answer is NaN or infinite for every test picture, so only its graph says what its scores mean"
)
LOGARITHMS = {-1.0: "−ln", float(np.log(2)): "log₂", float(np.log(10)): "log₁₀", -float(np.log(10)): "−log₁₀"}
"""Factor that makes a logarithm of probabilities their ln → what that logarithm is called."""


def judge(
    scores: NDArray[Any],
    output: str,
    logarithms: Logarithms,
    added: Appended,
    stated: LabelKindName | None = None,
) -> Judgement:
    """Judge the tensor `output`, which had the values `scores` [M, K] on the probes, and add its logits to `added`.

    `stated` is the kind of labels that the file's owner states.
    Raises UnsupportedGraph for several questions at once, OptionMismatch where the graph contradicts what is stated.
    """
    output, rows = logarithms.unshaped(output), scores.astype(np.float64)
    rows[np.isnan(rows).any(axis=1) | np.isposinf(rows).any(axis=1)] = np.nan
    known = rows[~np.isnan(rows).any(axis=1)]
    if rows.shape[1] == 1:
        if stated == "independent":
            raise OptionMismatch("--labels-are independent: the model has one score, which is for two classes")
        return of_one_score(rows, output, logarithms, added)
    if stated == "independent":
        return as_stated(rows, output, logarithms)
    if not len(known):
        return _by_graph_alone(rows, output, logarithms)
    _refuse_several_questions(output, known, logarithms)
    behind = logarithms.scores(output)
    positive = bool((known >= -ROUNDING * np.abs(known).max(axis=1, keepdims=True)).all())
    own_labels = has_labels_of_their_own(output, logarithms)
    if positive and _of_one_sum(known) and not (own_labels and _spread(known) < TOLD_APART):
        if behind is None:
            return Judgement(logarithms.floored(output), shares(rows), FLOORED)
        return Judgement(behind, shares(rows), None if logarithms.is_plain(output) else GIVEN)
    sigmoids = of_sigmoids(rows, output, logarithms)
    if sigmoids is not None and stated is None:
        return sigmoids
    if sigmoids is not None:
        raise OptionMismatch(
            "--labels-are exclusive: the model ends in a sigmoid for every label, whose probabilities do not sum to 1; "
            "name the tensor of logits with --output"
        )
    if positive and behind is not None:
        return Judgement(behind, shares(rows), DIVIDED)
    factor = _factor_of_logarithms(known)
    if factor is not None:
        note = f"the file answers {LOGARITHMS[factor]} of probabilities: /predict returns the probabilities"
        return Judgement(added.op("Mul", output, added.constant(factor)), softmax(factor * rows), note)
    last = logarithms.behind(output, {"Identity"})
    if last is not None and last.operator == "Tanh":
        return Judgement(output, softmax(rows), BOUNDED)
    return Judgement(logarithms.logits(output) or output, softmax(rows), LOGITS if positive else None)


def _by_graph_alone(rows: NDArray[Any], output: str, logarithms: Logarithms) -> Judgement:
    """Judge scores of which no row is finite: by what makes them."""
    behind, sigmoids = logarithms.scores(output), of_sigmoids(rows, output, logarithms)
    found = sigmoids or Judgement(behind or logarithms.logits(output) or output, softmax(rows), None)
    return replace(found, note="; ".join(filter(None, [NEVER_FINITE, found.note])))


def _refuse_several_questions(output: str, known: NDArray[Any], logarithms: Logarithms) -> None:
    """Raise UnsupportedGraph where several Softmaxes side by side answer several questions about an image."""
    last = logarithms.behind(output, PASSED | MOVED)
    parts = last.inputs if last is not None and last.operator == "Concat" else [output]
    makers = [maker for part in parts if (maker := logarithms.behind(part, PASSED | MOVED)) is not None]
    operators = {maker.operator for maker in makers}
    if (
        len(makers) < len(parts)
        or operators not in ({"Softmax"}, {"LogSoftmax"})
        or not all(map(logarithms.is_within_samples, makers))
    ):
        return
    with np.errstate(over="ignore"):
        sums = (known if operators == {"Softmax"} else np.exp(known)).sum(axis=1)
    count = round(float(sums.mean()))
    if count > 1 and np.abs(sums - count).max() <= UNIT_TOLERANCE * count:
        raise UnsupportedGraph(
            f"the model answers {count} questions at once, by {count} Softmaxes side by side; name the tensor of one "
            f"question's scores with --output (here perhaps {makers[0].inputs[0]!r})"
        )


def _factor_of_logarithms(known: NDArray[Any]) -> float | None:
    """Return the factor of `LOGARITHMS` that makes scores ln of numbers that sum to 1; None where none does."""
    if _spread(known) < TOLD_APART:
        return None
    with np.errstate(over="ignore"):
        sums = {factor: np.exp(factor * known).sum(axis=1) for factor in LOGARITHMS}
    return next((factor for factor, sum_ in sums.items() if np.abs(sum_ - 1).max() <= UNIT_TOLERANCE), None)


def _of_one_sum(rows: NDArray[Any]) -> bool:
    """Tell whether positive scores sum to 1, or to one other number while the scores themselves change."""
    sums = rows.sum(axis=1)
    if sums.min() <= 0 or np.abs(sums - 1).max() <= ROUNDING_OF_SUM:
        return bool(sums.min() > 0)
    is_unit, spread = np.abs(sums - 1).max() <= UNIT_TOLERANCE, _spread(rows)
    if not is_unit and spread == 0:
        return False
    return bool(np.ptp(sums) <= min(UNIT_TOLERANCE if is_unit else SUM_TOLERANCE * sums.mean(), spread / 100))


def _spread(rows: NDArray[Any]) -> float:
    """Return the distance of scores from their mean over the images, summed over classes, where it is largest."""
    return float(np.abs(rows - rows.mean(axis=0)).sum(axis=1).max())
