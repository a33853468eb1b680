"""The comparison with the file's own answer, where float32 does not determine that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing import import_classifier
from export.importing.answer.agreement import Reference
from tests.export.importing.graphs import classifier, options, saved

IMAGES = np.array([[1.0], [2.0], [3.0]], np.float32)
OWN = np.array([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])


def logits(probabilities: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log(probabilities))


def off_by(*differences: float) -> NDArray[Any]:
    """Return answers that differ from the file's by a probability per image."""
    return np.asarray(OWN + np.array(differences)[:, None] * np.array([1, -1]))


def reference(*moves: float) -> Reference:
    """Return the answers of a file, which move by a probability per image where the images are not quite these."""
    return Reference(IMAGES, OWN, lambda images: OWN if np.array_equal(images, IMAGES) else off_by(*moves))


def test_an_answer_of_the_file_that_rounding_of_the_image_moves_may_differ_by_a_few_times_as_much() -> None:
    reference(0.01, 0, 0).require(lambda _: logits(off_by(0.05, 0, 0)), 1)
    with pytest.raises(UnsupportedGraph, match=r"differ from the file's own by 0\.1"):
        reference(0.01, 0, 0).require(lambda _: logits(off_by(0.1, 0, 0)), 1)


def test_an_answer_that_rounding_does_not_move_must_be_the_file_s() -> None:
    reference(0, 0, 0).require(lambda _: logits(OWN), 1)
    with pytest.raises(
        UnsupportedGraph, match=r"at batch 1 the bundle's probabilities differ from the file's own by 0\.02"
    ):
        reference(0, 0, 0).require(lambda _: logits(off_by(0.02, 0, 0)), 1)


def test_a_bundle_whose_own_answers_move_is_not_excused_by_them() -> None:
    """The file is asked what rounding moves: a wrong graph may move by any amount."""

    def moving(images: NDArray[np.float32]) -> NDArray[Any]:
        return logits(off_by(0.02 if np.array_equal(images, IMAGES) else 0.1, 0, 0))

    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0, 0, 0).require(moving, 1)


def test_one_image_that_rounding_moves_excuses_no_other() -> None:
    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0.01, 0, 0).require(lambda _: logits(off_by(0.02, 0.02, 0)), 1)


def test_a_file_whose_answers_mostly_move_excuses_none() -> None:
    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0.01, 0.01, 0).require(lambda _: logits(off_by(0.02, 0.02, 0)), 1)


def test_the_file_answers_again_what_it_answered(tmp_path: Path) -> None:
    own = import_classifier(saved(classifier(), tmp_path), options()).reference
    assert own is not None
    np.testing.assert_allclose(own.answer(own.images[::-1]), own.probabilities[::-1], rtol=1e-6)
