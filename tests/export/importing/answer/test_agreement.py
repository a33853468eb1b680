"""The comparison with the file's own answer, where float32 does not determine that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from export.graph.errors import UnsupportedGraph
from export.importing import import_classifier
from export.importing.answer.agreement import Reference, evaluator
from tests.export.gradient.rules.runner import runtime
from tests.export.importing.graphs import SIZE, body, classifier, images, node, options, saved

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
    reference(0.01, 0, 0).require(lambda _: logits(off_by(0.05, 0, 0)))
    with pytest.raises(UnsupportedGraph, match=r"differ from the file's own by 0\.1"):
        reference(0.01, 0, 0).require(lambda _: logits(off_by(0.1, 0, 0)))


def test_an_answer_that_rounding_does_not_move_must_be_the_file_s() -> None:
    reference(0, 0, 0).require(lambda _: logits(OWN))
    with pytest.raises(UnsupportedGraph, match=r"the bundle's probabilities differ from the file's own by 0\.02"):
        reference(0, 0, 0).require(lambda _: logits(off_by(0.02, 0, 0)))


def test_a_bundle_whose_own_answers_move_is_not_excused_by_them() -> None:
    """The file is asked what rounding moves: a wrong graph may move by any amount."""

    def moving(images: NDArray[np.float32]) -> NDArray[Any]:
        return logits(off_by(0.02 if np.array_equal(images, IMAGES) else 0.1, 0, 0))

    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0, 0, 0).require(moving)


def test_one_image_that_rounding_moves_excuses_no_other() -> None:
    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0.01, 0, 0).require(lambda _: logits(off_by(0.02, 0.02, 0)))


def test_a_file_whose_answers_mostly_move_excuses_none() -> None:
    with pytest.raises(UnsupportedGraph, match="differ"):
        reference(0.01, 0.01, 0).require(lambda _: logits(off_by(0.02, 0.02, 0)))


def test_the_file_answers_again_what_it_answered(tmp_path: Path) -> None:
    own = import_classifier(saved(classifier(), tmp_path), options()).reference
    assert own is not None
    np.testing.assert_allclose(own.answer(own.images[::-1]), own.probabilities[::-1], rtol=1e-6)


def test_where_onnx_runtime_lacks_an_operator_the_evaluator_answers_that_knows_negative_pads(tmp_path: Path) -> None:
    """Operators that onnx's own evaluator computes wrongly are replaced there, too."""
    nodes = [
        node("Pad", ["image", "pads"], ["cropped"], "crop"),
        node("EyeLike", ["row"], ["one"], "lacking", dtype=TensorProto.BOOL),
        node("Where", ["one", "cropped", "cropped"], ["chosen"], "choice"),
        *body(),
    ]
    nodes[3].input[0] = "chosen"
    constants = {"pads": np.array([0, 0, -1, -1, 0, 0, -1, -1]), "row": np.zeros((1, 1), np.float32)}
    model = classifier(nodes, constants=constants)
    with pytest.raises(Exception, match="Could not find an implementation for EyeLike"):
        runtime(model)
    expected = evaluator(classifier(image=("N", 3, SIZE - 2, SIZE - 2)))(images()[:, :, 1:-1, 1:-1])
    np.testing.assert_allclose(evaluator(model)(images()), expected, rtol=1e-5, atol=1e-6)
