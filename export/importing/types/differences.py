"""The distance of a file's own answers from those of the float32 network that it is taken for, measured."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

from export.graph.errors import GradientError, one_line
from export.importing.answer.agreement import own_scores

MOST_BY_REFERENCE = 2
"""Images on which onnx's reference evaluator runs a file: it takes a second each for a network of 18 layers."""


def rounding_note(
    file: ModelProto, types: Collection[str], scores: NDArray[np.float64], images: NDArray[np.float32]
) -> str:
    """Say in which `types` the file computes, and by how much its own answers differ from `scores` [M, K] of `images`.

    ONNX Runtime gives the file's own answers, or onnx's reference evaluator on the first images where it cannot.
    """
    named = " and ".join(types)
    taken = f"numbers of the file are {named}: here all are float32"
    try:
        own, by = own_scores(file, images), ""
    except GradientError as first:
        try:
            own, by = _by_reference(file, images[:MOST_BY_REFERENCE]), ", by onnx's reference evaluator"
        except Exception:
            return f"{taken}; the file itself cannot be run here ({one_line(first)}), so its own answers are not known"
    known = np.isfinite(own).all(axis=1)
    if not known.any():
        return f"{taken}; the file's own answer is NaN or infinite for all of {len(own)} test images{by}"
    difference = float(np.abs(own - scores[: len(own)])[known].max())
    largest = float(np.abs(own[known]).max())
    broken = f"; for {np.count_nonzero(~known)} more it is NaN or infinite" if not known.all() else ""
    return (
        f"{taken}; its own scores differ by at most {difference:.1g} (the largest is {largest:.2g}) "
        f"on {np.count_nonzero(known)} test images{by}{broken}"
    )


def _by_reference(file: ModelProto, images: NDArray[np.float32]) -> NDArray[np.float64]:
    element = helper.tensor_dtype_to_np_dtype(file.graph.input[0].type.tensor_type.elem_type)
    run = ReferenceEvaluator(file)
    name = file.graph.input[0].name
    rows: list[Any] = [next(iter(run.run(None, {name: image[None].astype(element)}))) for image in images]
    return np.stack([np.asarray(row).astype(np.float64).reshape(-1) for row in rows])
