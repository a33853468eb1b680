"""Labels of which an image has any number: each label's own probability, and gradients of the binary cross-entropy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto

from export.graph.errors import UnsupportedGraph
from export.importing import OptionMismatch, import_classifier
from export.verification.recheck import in_lines, recheck
from tests.export.importing.answer.endings import Ending, floats, number
from tests.export.importing.answer.references import bundled, session, slopes, weights_of
from tests.export.importing.graphs import images, node, options, saved

Array = NDArray[Any]
SIGMOID = node("Sigmoid", ["scores"], ["p"], "last")
SPLIT = node("Split", ["scores"], ["s", "t"], axis=1, num_outputs=2)
APPLIES = np.array([[1, 0, 0, 1]])


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def behind(*nodes: NodeProto, factor: float = 1.0, **constants: Array) -> tuple[Ending, float]:
    return Ending([SIGMOID, *nodes], constants), factor


FORMS: dict[str, tuple[Ending, float]] = {
    "sigmoids": (Ending([node("Sigmoid", ["scores"], ["out"])]), 1.0),
    "in percent": behind(node("Mul", ["hundred", "p"], ["out"]), factor=100, hundred=number(100)),
    "clipped": behind(node("Clip", ["p", "low", "high"], ["out"]), low=number(1e-7), high=number(1 - 1e-7)),
    "clipped beyond 0 and 1": behind(node("Clip", ["p", "low", "high"], ["out"]), low=number(0), high=number(1)),
    "reordered": behind(node("Gather", ["p", "order"], ["out"], axis=1), order=np.array([2, 0, 3, 1])),
    "turned over": behind(node("Sub", ["one", "p"], ["out"]), one=floats(1, 1, 1, 1)),
    "joined": (
        Ending(
            [
                SPLIT,
                node("Sigmoid", ["s"], ["p"]),
                node("Sigmoid", ["t"], ["q"]),
                node("Concat", ["p", "q"], ["out"], axis=1),
            ]
        ),
        1.0,
    ),
    "by hand": (
        Ending(
            [
                node("Neg", ["scores"], ["minus"]),
                node("Exp", ["minus"], ["e"]),
                node("Add", ["e", "unit"], ["sum"]),
                node("Reciprocal", ["sum"], ["out"]),
            ],
            {"unit": number(1)},
        ),
        1.0,
    ),
    "hard sigmoids": (Ending([node("HardSigmoid", ["scores"], ["out"], alpha=0.05)]), 1.0),
    "squared": behind(node("Pow", ["p", "two"], ["out"]), two=number(2)),
}


def answers(folder: Path, graph: str, batch: Array, labels: Array) -> dict[str, Array]:
    ready = session(folder / "stranger" / f"{graph}.onnx")
    given = {"input": batch, "label": labels.astype(np.int64), "cotangent_scale": np.ones(len(batch), np.float32)}
    outputs = [value.name for value in ready.get_outputs()]
    return dict(zip(outputs, ready.run(None, {i.name: given[i.name] for i in ready.get_inputs()}), strict=True))


@pytest.mark.parametrize("name", FORMS)
def test_each_label_has_the_file_s_probability_and_the_gradients_of_its_cross_entropy(
    tmp_path: Path, name: str
) -> None:
    ending, factor = FORMS[name]
    bundle = bundled(ending, tmp_path)
    assert bundle.label_kind == "independent"
    assert any("labels are independent" in note for note in bundle.notes)
    batch = images(5)
    own = session(ending.model()).run(["out"], {"image": batch})[0] / factor
    found = answers(tmp_path, "weight_norms", batch, np.repeat(APPLIES, 5, axis=0))
    assert np.allclose(sigmoid(found["logits"]), own, atol=1e-6)

    def likelihood(rows: Array) -> Array:
        p = rows / factor
        return np.asarray(np.where(APPLIES == 1, p, 1 - p).prod(axis=1, keepdims=True).repeat(2, axis=1))

    expected = slopes(ending.model(), batch[:1].astype(np.float64), likelihood, weights_of(ending))
    norms = dict(zip([layer.name for layer in bundle.layers], np.sqrt(found["weight_square"][0]), strict=True))
    assert {key: norms[key.removesuffix(".weight")] for key in expected} == pytest.approx(expected, rel=1e-3)


def test_labels_that_are_not_given_are_those_above_one_half(tmp_path: Path) -> None:
    bundled(FORMS["sigmoids"][0], tmp_path)
    batch = images(5)
    logits = answers(tmp_path, "forward", batch, np.empty(0))["logits"]
    predicted = (logits > 0).astype(np.int64)
    assert predicted.any()
    assert not predicted.all()
    unknown = answers(tmp_path, "weight_norms", batch, np.full((5, 4), -1))
    known = answers(tmp_path, "weight_norms", batch, predicted)
    assert np.array_equal(unknown["weight_square"], known["weight_square"])
    partly = np.full((5, 4), -1)
    partly[:, 0] = 1 - predicted[:, 0]
    other = np.hstack([1 - predicted[:, :1], predicted[:, 1:]])
    completed, whole = (answers(tmp_path, "weight_norms", batch, labels) for labels in (partly, other))
    assert np.array_equal(completed["weight_square"], whole["weight_square"])


def test_a_confident_label_keeps_its_gradient(tmp_path: Path) -> None:
    """Logits of ±40 and more: the probability is 1 in float32, its distance from 1 is not lost."""
    far = Ending(
        [node("Add", ["scores", "sure"], ["s"]), node("Sigmoid", ["s"], ["out"])], {"sure": floats(40, -40, 60, -60)}
    )
    bundled(far, tmp_path)
    found = answers(tmp_path, "activation_norms", images(3), np.array([[1, 0, 1, 0]] * 3))
    logits = found["logits"].astype(np.float64)
    expected = np.square(1 / (1 + np.exp(np.abs(logits)))).sum(axis=1)
    np.testing.assert_allclose(found["activation_square"][:, -1], expected, rtol=1e-4)
    assert (expected < 1e-28).all()


def test_one_label_that_fires_on_everything_is_still_independent(tmp_path: Path) -> None:
    """The sum of the probabilities is 1 by chance."""
    sure = np.array([-50, 50, -50, -50], np.float32)
    ending = Ending([node("Add", ["scores", "sure"], ["s"]), node("Sigmoid", ["s"], ["out"])], {"sure": sure})
    assert bundled(ending, tmp_path).label_kind == "independent"


def test_logits_are_of_independent_labels_where_their_owner_says_so(tmp_path: Path) -> None:
    plain = Ending([node("Identity", ["scores"], ["out"])])
    bundle = bundled(plain, tmp_path, labels_are="independent")
    assert bundle.label_kind == "independent"
    assert any("--labels-are" in note for note in bundle.notes)
    assert not any(check.difference > check.bound for check in recheck(tmp_path / "stranger")), in_lines(
        recheck(tmp_path / "stranger")
    )


@pytest.mark.parametrize(
    ("nodes", "stated", "words"),
    [
        ([node("Softmax", ["scores"], ["out"], "last")], "independent", "ends in Softmax .*exclude each other"),
        ([node("LogSoftmax", ["scores"], ["out"], "last")], "independent", "ends in LogSoftmax .*exclude each other"),
        ([node("Exp", ["scores"], ["out"])], "independent", "not known what they are"),
        ([node("Sigmoid", ["scores"], ["out"])], "exclusive", "ends in a sigmoid for every label"),
    ],
)
def test_a_flag_that_contradicts_the_graph_is_refused(
    tmp_path: Path, nodes: list[NodeProto], stated: str, words: str
) -> None:
    with pytest.raises(OptionMismatch, match=words):
        bundled(Ending(nodes), tmp_path, labels_are=stated)


def test_one_score_is_not_of_independent_labels(tmp_path: Path) -> None:
    ending = Ending([node("MatMul", ["flat", "w"], ["out"])], {"w": np.ones((5, 1), np.float32)}, labels=2)
    with pytest.raises(OptionMismatch, match="one score"):
        bundled(ending, tmp_path, labels_are="independent")


def test_a_bundle_of_independent_labels_is_never_that_of_another_file(tmp_path: Path) -> None:
    """The comparison with the file's own answer is of sigmoids: it would see a softmax."""
    ending = FORMS["sigmoids"][0]
    imported = import_classifier(saved(ending.model(), tmp_path), options())
    assert imported.reference is not None
    wrong = replace(imported.reference, label_kind="exclusive")
    logits = np.log(imported.reference.probabilities / (1 - imported.reference.probabilities))
    imported.reference.require(lambda _: logits)
    with pytest.raises(UnsupportedGraph, match="differ"):
        wrong.require(lambda _: logits)
