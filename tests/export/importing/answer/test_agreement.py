"""The comparison with the file's own answer, where float32 does not determine that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing.answer.agreement import Reference

IMAGES = np.array([[1.0], [2.0]], np.float32)
OWN = np.array([[0.6, 0.4], [0.3, 0.7]])


def logits(probabilities: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log(probabilities))


def off(images: NDArray[np.float32], moves: bool) -> NDArray[Any]:
    """Answer the first image otherwise than the file; where `moves`, an image that is moved by rounding too."""
    shift = 0.01 if moves and not np.array_equal(images, IMAGES) else 0.0
    return logits(OWN + np.array([[0.02 - shift, shift - 0.02], [0, 0]]))


def test_an_answer_that_rounding_of_the_image_moves_may_differ_by_a_few_times_as_much() -> None:
    Reference(IMAGES, OWN).require(lambda images: off(images, moves=True))


def test_an_answer_that_rounding_does_not_move_must_be_the_file_s() -> None:
    Reference(IMAGES, OWN).require(lambda _: logits(OWN))
    with pytest.raises(UnsupportedGraph, match=r"the bundle's probabilities differ from the file's own by 0\.02"):
        Reference(IMAGES, OWN).require(lambda images: off(images, moves=False))


def test_one_image_that_rounding_moves_excuses_no_other() -> None:
    def wrong_for_both(images: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(off(images, moves=True) + np.array([[0, 0], [0.5, 0]]))

    with pytest.raises(UnsupportedGraph, match="differ"):
        Reference(IMAGES, OWN).require(wrong_for_both)
