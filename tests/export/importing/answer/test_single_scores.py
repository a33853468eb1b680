"""A file's one score per image is for two labels, however it is formed, and its probability is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from tests.export.importing.answer.endings import AXIS, ONE, ONE_SCORE, Ending, ints, number
from tests.export.importing.answer.references import answers, bundled, session, slopes, softmax, weights_of
from tests.export.importing.graphs import images, node

Array = NDArray[Any]
Read = Callable[[Array], Array]
SIGMOID = node("Sigmoid", ["score"], ["p"])


def logistic(rows: Array) -> Array:
    return 1 / (1 + np.exp(-rows))


def as_it_is(rows: Array) -> Array:
    return rows


def in_percent(rows: Array) -> Array:
    return rows / 100


FORMS: dict[str, tuple[list[Any], dict[str, Array], Read]] = {
    "a logit [N, 1]": ([node("Identity", ["score"], ["out"])], {}, logistic),
    "a logit [N]": ([node("Squeeze", ["score", "axis"], ["out"])], AXIS, logistic),
    "a logit [N, 1, 1, 1]": ([node("Unsqueeze", ["score", "axes"], ["out"])], {"axes": ints(2, 3)}, logistic),
    "a probability [N, 1, 1, 1]": (
        [SIGMOID, node("Unsqueeze", ["p", "axes"], ["out"])],
        {"axes": ints(2, 3)},
        as_it_is,
    ),
    "a probability [N]": ([SIGMOID, node("Squeeze", ["p", "axis"], ["out"])], AXIS, as_it_is),
    "a sigmoid of a sigmoid": ([SIGMOID, node("Sigmoid", ["p"], ["out"])], {}, as_it_is),
    "a probability in percent": ([SIGMOID, node("Mul", ["p", "c"], ["out"])], {"c": number(100)}, in_percent),
    "a probability divided by a hundredth": (
        [SIGMOID, node("Div", ["p", "c"], ["out"])],
        {"c": number(0.01)},
        in_percent,
    ),
    "a clipped probability": (
        [SIGMOID, node("Clip", ["p", "low", "high"], ["out"])],
        {"low": number(1e-7), "high": number(1 - 1e-7)},
        as_it_is,
    ),
    "a logarithm": ([SIGMOID, node("Log", ["p"], ["out"])], {}, np.exp),
    "minus a softplus": (
        [node("Neg", ["score"], ["minus"]), node("Softplus", ["minus"], ["s"]), node("Neg", ["s"], ["out"])],
        {},
        np.exp,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_second_label_has_the_file_s_probability_and_its_gradients(tmp_path: Path, name: str) -> None:
    nodes, constants, read = FORMS[name]
    ending = Ending([ONE_SCORE, *nodes], {"one": ONE, **constants}, labels=2)

    def two(rows: Array) -> Array:
        second = read(rows.reshape(-1, 1).astype(np.float64))
        return np.hstack([1 - second, second])

    bundle = bundled(ending, tmp_path)
    assert "score" in " ".join(bundle.notes)
    batch = images(5)
    own = two(session(ending.model()).run(["out"], {"image": batch})[0])
    for count in (1, 5):
        assert np.allclose(softmax(answers(tmp_path, "forward", batch[:count])["logits"]), own[:count], atol=1e-6)
    expected = slopes(ending.model(), batch[:1].astype(np.float64), two, weights_of(ending))
    found = np.sqrt(answers(tmp_path, "weight_norms", batch[:1])["weight_square"][0])
    norms = dict(zip([layer.name for layer in bundle.layers], found, strict=True))
    assert {key: norms[key.removesuffix(".weight")] for key in expected} == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("operator", ["Tanh", "Softmax", "LogSoftmax"])
def test_a_score_that_is_neither_probability_nor_logit_is_refused(tmp_path: Path, operator: str) -> None:
    ending = Ending([ONE_SCORE, node(operator, ["score"], ["out"], "last")], {"one": ONE}, labels=2)
    with pytest.raises(UnsupportedGraph, match=rf"ends in {operator} \(node 'last'\).*perhaps 'score'"):
        bundled(ending, tmp_path)


def test_without_labels_the_two_classes_are_called_by_number(tmp_path: Path) -> None:
    ending = Ending([ONE_SCORE, node("Sigmoid", ["score"], ["out"])], {"one": ONE}, labels=0)
    bundle = bundled(ending, tmp_path)
    assert bundle.labels == ("0", "1")
    assert any("called by number" in note for note in bundle.notes)
