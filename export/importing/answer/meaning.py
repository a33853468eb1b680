"""The meaning that a file's scores were found to have, and the two ways from rows of scores to probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import LabelKindName

ROUNDING = 1e-6  # sums and differences of probabilities may exceed 1 or fall below 0 by this


@dataclass(frozen=True)
class Judgement:
    """The meaning that a file's scores were found to have.

    - `logits`: the name of the tensor of logits, [N, K] once it is flattened.
    - `probabilities`: what `/predict` must answer to the M probes, float64 [M, K]; NaN in rows where the file's own
      answer is not finite.
    - `note`: for whoever reads the norms.
    - `label_kind`: whether an image has one of the classes or any number of the labels.
    """

    logits: str
    probabilities: NDArray[np.float64]
    note: str | None
    label_kind: LabelKindName = "exclusive"


def shares(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows [M, K] of positive scores divided by their sums, with negative ones taken for 0."""
    positive = np.maximum(rows, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))


def softmax(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax of float64 rows [M, K]; a row with a NaN becomes NaN."""
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
