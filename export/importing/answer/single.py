"""Judgement of a file's one score per image, which is for two labels.

the score                                     is taken for
behind a Sigmoid, or in [0, 1]                the probability p of the second label
the same in percent                           100 times it
behind the Log of such a probability          its logarithm
behind a Tanh, or a Softmax over one number   nothing: refused
any other number                              the logit of the second label
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing.answer.appended import Appended
from export.importing.answer.logarithms import FACTORS, PASSED, SHAPED, Logarithms
from export.importing.answer.meaning import ROUNDING, Judgement, shares, softmax

PROBABILITY = "the file's one score is the probability of the second label"
PERCENT = "the file's one score is the probability of the second label, times {factor:g}"
LOGARITHM = "the file's one score is the logarithm of the second label's probability"
LOGIT = "the file's one score is taken for the logit of the second label: its probability is the score's sigmoid"
MEANINGLESS = {
    "Tanh": "between -1 and 1, which is neither a probability nor a logit",
    "Softmax": "over one score, which is 1 whatever the picture",
    "LogSoftmax": "over one score, which is 0 whatever the picture",
}


def of_one_score(rows: NDArray[Any], output: str, logarithms: Logarithms, added: Appended) -> Judgement:
    """Make logits [N, 2] of two labels from the tensor `output`, which had the values `rows` [M, 1] on the probes.

    They are [ln(1 − p), ln p] of a probability p, and [0, x] of a logit x. Rows may be NaN.
    Raises UnsupportedGraph where the score is bounded in another way.
    """
    last = logarithms.behind(output, PASSED | SHAPED)
    if last is not None and last.operator in MEANINGLESS:
        raise UnsupportedGraph(
            f"the model ends in {last.operator} (node {last.name!r}) {MEANINGLESS[last.operator]}; "
            f"name the tensor of logits with --output (here perhaps {last.inputs[0]!r})"
        )
    if last is not None and last.operator == "Log":
        return _of_probability(np.exp(rows), last.inputs[0], LOGARITHM, logarithms, added)
    inner = logarithms.producers.get(last.inputs[0]) if last is not None and last.operator == "Neg" else None
    if inner is not None and inner.operator == "Softplus":  # −ln(1 + eᵘ) = ln σ(−u)
        opposite = added.op("Neg", added.op("Softplus", added.op("Neg", inner.inputs[0])))
        pair = _side_by_side((opposite, output), added)
        return Judgement(pair, np.hstack([1 - np.exp(rows), np.exp(rows)]), LOGARITHM)
    source, factor = unscaled(output, logarithms)
    if source != output and (
        logarithms.at_most_one(source) or (np.isclose(factor, 100) and _are_probabilities(rows / factor))
    ):
        note = PROBABILITY if factor == 1 else PERCENT.format(factor=factor)
        return _of_probability(rows / factor, source, note, logarithms, added)
    own = logarithms.exact(output) is not None and logarithms.complement(output) is not None
    if own or _are_probabilities(rows):
        return _of_probability(rows, output, PROBABILITY, logarithms, added)
    score = added.op("Reshape", output, added.constant([-1, 1]))
    pair = added.op("Mul", score, added.constant([[0.0, 1.0]]))
    return Judgement(pair, softmax(np.hstack([np.zeros_like(rows), rows])), LOGIT)


def _of_probability(rows: NDArray[Any], tensor: str, note: str, logarithms: Logarithms, added: Appended) -> Judgement:
    two = np.hstack([1 - rows, rows])
    complement, own = logarithms.complement(tensor), logarithms.exact(tensor)
    if complement is not None and own is not None:
        return Judgement(_side_by_side((complement, own), added), two, note)
    score = added.op("Reshape", tensor, added.constant([-1, 1]))
    pair = added.op("Concat", added.op("Sub", added.constant(1.0), score), score, axis=1)
    return Judgement(logarithms.floored(pair), shares(two), note)


def _side_by_side(parts: tuple[str, str], added: Appended) -> str:
    column = added.constant([-1, 1])
    return added.op("Concat", *(added.op("Reshape", part, column) for part in parts), axis=1)


def _are_probabilities(rows: NDArray[Any]) -> bool:
    known = rows[~np.isnan(rows)]
    return bool(known.size and known.min() >= -ROUNDING and known.max() <= 1 + ROUNDING)


def unscaled(tensor: str, logarithms: Logarithms) -> tuple[str, float]:
    """Return the tensor that positive numbers of the graph multiply or divide into `tensor`, and their product."""
    factor, constants = 1.0, logarithms.graph.constants
    while (node := logarithms.producers.get(tensor)) is not None and node.operator in PASSED | SHAPED | FACTORS:
        if node.operator in FACTORS:
            values = [constants[name] for name in node.inputs if name in constants]
            if len(values) != 1 or values[0].size != 1 or values[0].item() <= 0:
                break
            if node.operator == "Div" and node.inputs[0] in constants:
                break
            factor *= values[0].item() if node.operator == "Mul" else 1 / values[0].item()
        tensor = next(name for name in node.inputs if name not in constants)
    return tensor, factor
