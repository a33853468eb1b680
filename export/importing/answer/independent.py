"""Judgement of scores that are of independent labels: each label applies or not, whatever the others do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.importing.answer.log_odds import floored_log_odds, log_odds
from export.importing.answer.logarithms import FACTORS, MOVED, PASSED, Logarithms
from export.importing.answer.meaning import Judgement
from export.importing.answer.single import unscaled
from export.importing.flags.errors import OptionMismatch
from service.contract.binary_loss import label_probabilities

MEANING = (
    "/predict answers each label's own probability, and the loss is the binary cross-entropy, summed over the labels"
)
SIGMOIDS = f"the file ends in a sigmoid for every label, so its labels are independent: {MEANING}"
STATED = f"the file's scores are taken for logits of independent labels, as is said with --labels-are: {MEANING}"
POINTWISE = PASSED | MOVED | FACTORS | {"Clip", "Pow", "Sqrt"}


def has_labels_of_their_own(output: str, logarithms: Logarithms) -> bool:
    """Tell whether the last operator that makes scores is a sigmoid, which decides about each label alone."""
    last = logarithms.behind(output, POINTWISE)
    return last is not None and last.operator in ("Sigmoid", "HardSigmoid")


def of_sigmoids(rows: NDArray[Any], output: str, logarithms: Logarithms) -> Judgement | None:
    """Judge scores that are sigmoids, in percent or their logarithms too; None where they are none.

    `rows` are the values [M, K] of the tensor `output`, with NaN where the file has no answer.
    """
    node = logarithms.behind(output, PASSED)
    if node is not None and node.operator == "Log":
        logits = log_odds(logarithms, node.inputs[0])
        return None if logits is None else Judgement(logits, np.exp(rows), SIGMOIDS, "independent")
    source, factor = unscaled(output, logarithms)
    logits = log_odds(logarithms, source)
    if logits is None:
        if not has_labels_of_their_own(output, logarithms):
            return None
        logits = floored_log_odds(logarithms, source)
    return Judgement(logits, rows / factor, SIGMOIDS, "independent")


def as_stated(rows: NDArray[Any], output: str, logarithms: Logarithms) -> Judgement:
    """Judge scores that `--labels-are independent` is said of: sigmoids, else logits.

    Raises OptionMismatch where the graph says that its classes exclude each other.
    """
    last = logarithms.behind(output, PASSED | MOVED | FACTORS | {"Clip", "Log"})
    if last is not None and last.operator in ("Softmax", "LogSoftmax"):
        raise OptionMismatch(
            f"--labels-are independent: the model ends in {last.operator} (node {last.name!r}), "
            "so its classes exclude each other"
        )
    found = of_sigmoids(rows, output, logarithms)
    if found is None and logarithms.exact(output) is not None:
        raise OptionMismatch(
            "--labels-are independent: the model's scores are made of exponentials, but not by sigmoids, so it is "
            "not known what they are; name the tensor of logits with --output"
        )
    return found or Judgement(output, label_probabilities(rows), STATED, "independent")
