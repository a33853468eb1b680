"""A bundle returns a file's probabilities, whatever their form, and gradients of −ln of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.graph.errors import UnsupportedGraph
from export.importing import import_classifier
from export.importing.answer.agreement import Reference
from export.importing.command import import_bundle
from service.contract.bundle_schema import Bundle
from tests.export.gradient.rules.runner import runtime
from tests.export.importing.answer.endings import (
    CLIPPED,
    FROM_NUMBERS,
    LOGARITHMS,
    ONE,
    ONE_SCORE,
    READ_OFF,
    Ending,
    number,
)
from tests.export.importing.answer.references import (
    LABEL,
    answers,
    bundled,
    session,
    shares,
    slopes,
    softmax,
    weights_of,
)
from tests.export.importing.graphs import body, classifier, images, node, options, saved

Array = NDArray[Any]


def gives_its_own_answer(ending: Ending, folder: Path, read: Callable[[Array], Array]) -> Bundle:
    """Imported; probabilities at batch 1 and 5, and norms of a sample, are the file's own."""
    bundle = bundled(ending, folder)
    batch = images(5)
    own = read(session(ending.model()).run(["out"], {"image": batch})[0])
    for count in (1, 5):
        assert np.allclose(softmax(answers(folder, "forward", batch[:count])["logits"]), own[:count], atol=1e-6)
    found = answers(folder, "weight_norms", batch[:1])
    expected = slopes(ending.model(), batch[:1].astype(np.float64), read, weights_of(ending))
    norms = dict(zip([layer.name for layer in bundle.layers], np.sqrt(found["weight_square"][0]), strict=True))
    assert {name: norms[name.removesuffix(".weight")] for name in expected} == pytest.approx(expected, rel=1e-3)
    assert np.allclose(softmax(found["logits"]), own[:1], atol=1e-6)
    return bundle


READ_OFF_OR_CLIPPED = {**READ_OFF, **CLIPPED}


@pytest.mark.parametrize("name", READ_OFF_OR_CLIPPED)
def test_probabilities_are_read_off_the_graph(tmp_path: Path, name: str) -> None:
    bundle = gives_its_own_answer(READ_OFF_OR_CLIPPED[name], tmp_path, shares)
    assert not any("smaller" in note for note in bundle.notes), bundle.notes
    assert bundle.layers[0].name == "conv"
    known = {"conv", "conv.bias", "head", "head.bias", "second", "one"}
    assert {layer.name for layer in bundle.layers} | {p.name for p in bundle.other_parameters} <= known


@pytest.mark.parametrize("name", FROM_NUMBERS)
def test_probabilities_are_recognised_by_their_numbers(tmp_path: Path, name: str) -> None:
    bundle = gives_its_own_answer(FROM_NUMBERS[name], tmp_path, shares)
    assert any("probabilit" in note for note in bundle.notes), bundle.notes


@pytest.mark.parametrize("name", LOGARITHMS)
def test_logits_and_logarithms_of_probabilities_are_taken_as_logits(tmp_path: Path, name: str) -> None:
    bundle = gives_its_own_answer(LOGARITHMS[name], tmp_path, softmax)
    assert any("taken for logits" in note for note in bundle.notes) == (name == "rectified")


@pytest.mark.parametrize(("factor", "called"), [(-1.0, "−ln"), (1 / np.log(2), "log₂"), (1 / np.log(10), "log₁₀")])
def test_logarithms_of_another_sign_or_base_are_recognised(tmp_path: Path, factor: float, called: str) -> None:
    scaled = [node("LogSoftmax", ["scores"], ["l"]), node("Mul", ["l", "factor"], ["out"])]
    bundle = gives_its_own_answer(
        Ending(scaled, {"factor": number(factor)}), tmp_path, lambda rows: shares(np.exp(rows / factor))
    )
    assert any(f"answers {called} of" in note for note in bundle.notes)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("form", ["reshaped", "joined"])
def test_several_questions_at_once_are_refused(tmp_path: Path, operator: str, form: str) -> None:
    if form == "reshaped":
        nodes = [node("Reshape", ["scores", "parts"], ["s"]), node(operator, ["s"], ["p"], axis=2)]
        nodes.append(node("Flatten", ["p"], ["out"]))
    else:
        nodes = [node("Split", ["scores"], ["s", "t"], axis=1, num_outputs=2)]
        nodes += [node(operator, ["s"], ["p"], axis=1), node(operator, ["t"], ["q"], axis=1)]
        nodes.append(node("Concat", ["p", "q"], ["out"], axis=1))
    with pytest.raises(UnsupportedGraph, match=r"2 questions at once.*perhaps 's'"):
        bundled(Ending(nodes, {"parts": np.array([-1, 2, 2])}), tmp_path)


SHARP = 8.0
"""Scores so large that many probabilities are 0 and 1 in float32, but exponentials do not overflow."""


@pytest.mark.parametrize("name", sorted(READ_OFF.keys() - {"softmax twice"}))
def test_saturated_probabilities_keep_their_gradients(tmp_path: Path, name: str) -> None:
    """Not only is the answer the file's: the loss of an impossible label has the slope of its score."""
    ending = READ_OFF[name]
    bundled(ending, tmp_path, SHARP)
    batch = images(5)
    with np.errstate(invalid="ignore"):
        own = shares(session(ending.model(SHARP)).run(["out"], {"image": batch})[0])
    found = answers(tmp_path, "weight_norms", batch)
    told = ~np.isnan(own).any(axis=1)  # of a part of the classes nothing may be left
    assert np.allclose(softmax(found["logits"])[told], own[told], atol=1e-5)
    impossible = told & (own[:, LABEL] < 1e-9)
    assert (found["weight_square"][impossible] > 1e-3).all()


@pytest.mark.parametrize(
    ("name", "label"), [("by hand", LABEL), ("by hand, stabilised", LABEL), ("percent", LABEL), ("reordered", 0)]
)
def test_a_saturated_sample_s_norms_are_those_of_its_logits(tmp_path: Path, name: str, label: int) -> None:
    """To the last digits: −ln p cancels to 0 where p is 1, the sum over the other labels does not."""
    unshaped = Ending([node("Mul", ["scores", "one"], ["out"])], {"one": number(1)})
    found = []
    for number_of, ending in enumerate((READ_OFF[name], unshaped)):
        folder = tmp_path / str(number_of)
        folder.mkdir()
        bundled(ending, folder, SHARP)
        ready = session(folder / "stranger/weight_norms.onnx")
        label = label if number_of == 0 else READ_OFF[name].constants.get("order", np.arange(4))[label]
        given = {"input": images(5), "label": np.full(5, label), "cotangent_scale": np.full(5, 2.0**40, np.float32)}
        found.append(ready.run(["weight_square"], given)[0])
    assert (found[1] > 0).all()
    assert np.allclose(found[0], found[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", sorted(FROM_NUMBERS.keys() - {"softplus, normalised", "squares, in percent"}))
def test_probabilities_of_0_and_1_are_recognised_and_have_finite_gradients(tmp_path: Path, name: str) -> None:
    ending = FROM_NUMBERS[name]
    assert any("probabilit" in note for note in bundled(ending, tmp_path, SHARP).notes)
    found = answers(tmp_path, "weight_norms", images(5))
    own = shares(session(ending.model(SHARP)).run(["out"], {"image": images(5)})[0])
    assert np.allclose(softmax(found["logits"]), own, atol=1e-6)
    assert all(np.isfinite(value).all() for value in found.values())


def test_before_opset_13_a_softmax_runs_over_all_axes_behind_its_own(tmp_path: Path) -> None:
    grouped = [node("Reshape", ["scores", "groups"], ["grouped"]), node("Softmax", ["grouped"], ["p"], axis=1)]
    ending = Ending(
        [*grouped, node("Flatten", ["p"], ["out"])], {"groups": np.array([-1, 2, 2], dtype=np.int64)}, opset=11
    )
    found = []
    for number_of, entry in enumerate((ending, READ_OFF["softmax"])):
        folder = tmp_path / str(number_of)
        folder.mkdir()
        bundled(entry, folder)
        found.append(answers(folder, "weight_norms", images(3)))
    assert np.allclose(found[0]["logits"], found[1]["logits"], atol=1e-6)
    assert np.allclose(found[0]["weight_square"], found[1]["weight_square"], rtol=1e-5)


def test_sigmoids_that_sum_to_one_are_probabilities(tmp_path: Path) -> None:
    mirrored = [ONE_SCORE, node("Mul", ["score", "signs"], ["both"]), node("Sigmoid", ["both"], ["out"])]
    ending = Ending(mirrored, {"one": ONE, "signs": np.array([[-1, 1]], np.float32)}, labels=2)
    gives_its_own_answer(ending, tmp_path, shares)


def test_one_score_that_is_no_probability_is_a_logit(tmp_path: Path) -> None:
    ending = Ending([ONE_SCORE, node("Mul", ["score", "nine"], ["out"])], {"one": ONE, "nine": number(9)}, labels=2)

    def logistic(rows: Array) -> Array:
        return shares(1 / (1 + np.exp(-rows)))

    bundle = gives_its_own_answer(ending, tmp_path, logistic)
    assert "logit of the second label" in " ".join(bundle.notes)


@pytest.mark.parametrize("beyond", ["above 1", "below 0"])
def test_one_probability_that_rounding_takes_out_of_its_bounds_is_still_one(tmp_path: Path, beyond: str) -> None:
    """A sum of some classes' probabilities comes out as 1.0000001 at times, and 1 less it as −0.0000001."""
    score = [ONE_SCORE, node("Mul", ["score", "steep"], ["s"]), node("Sigmoid", ["s"], ["p"])]
    constants = {"one": ONE, "steep": number(-20), "next": np.nextafter(np.float32(1), np.float32(2))}
    if beyond == "above 1":
        nodes = [node("Mul", ["p", "next"], ["out"])]
    else:
        nodes = [node("Mul", ["p", "next"], ["q"]), node("Sub", ["unit", "q"], ["out"])]
        constants["unit"] = number(1)
    ending = Ending([*score, *nodes], constants, labels=2)
    bundle = bundled(ending, tmp_path)
    assert "probability of the second label" in " ".join(bundle.notes)
    batch = np.concatenate([images(5), images(5) / 100])
    own = session(ending.model()).run(["out"], {"image": batch})[0].reshape(-1)
    assert own.max() > 1 if beyond == "above 1" else own.min() < 0
    assert np.allclose(softmax(answers(tmp_path, "forward", batch)["logits"])[:, 1], own, atol=1e-6)


def test_logits_that_happen_to_be_positive_are_no_probabilities(tmp_path: Path) -> None:
    """A network that barely tells pictures apart: its scores are nearly its biases, and so is their sum."""
    ending = Ending(
        [node("Mul", ["scores", "tiny"], ["small"]), node("Add", ["small", "bias"], ["out"])],
        {"tiny": number(1e-4), "bias": np.array([1, 2, 3, 4], np.float32)},
    )
    gives_its_own_answer(ending, tmp_path, softmax)


def test_a_dropout_that_was_exported_in_training_mode_drops_nothing(tmp_path: Path) -> None:
    dropped = node("Dropout", ["scores", "half", "training"], ["out"])
    ending = Ending([dropped], {"half": number(0.5), "training": np.array(True)})
    bundled(ending, tmp_path)
    expected = session(ending.model()).run(["out"], {"image": images(2)})[0]
    found = answers(tmp_path, "forward", images(2))["logits"]
    assert not np.allclose(found, expected)
    plain = Ending([node("Identity", ["scores"], ["out"])]).model()
    assert np.allclose(found, session(plain).run(["out"], {"image": images(2)})[0], atol=1e-5)


def test_scores_that_are_always_zero_are_logits(tmp_path: Path) -> None:
    """A dead network: its sum is constant, and says nothing."""
    ending = Ending([node("Mul", ["scores", "zero"], ["z"]), node("Abs", ["z"], ["out"])], {"zero": number(0)})
    bundled(ending, tmp_path)
    assert np.allclose(softmax(answers(tmp_path, "forward", images(2))["logits"]), 0.25)


@pytest.mark.parametrize(
    ("last", "scores", "kind"),
    [
        ("Softmax", 4, "exclusive"),
        ("Sigmoid", 4, "independent"),
        ("Sigmoid", 1, "exclusive"),
        ("Abs", 1, "exclusive"),
        ("Abs", 4, "exclusive"),
    ],
)
def test_an_answer_that_is_never_a_number_is_read_off_the_graph(
    tmp_path: Path, last: str, scores: int, kind: str
) -> None:
    """So that a verdict can say of the bundle what is the matter with the file."""
    broken = {"head.weight": np.full((scores, 5), np.nan, np.float32), "head.bias": np.zeros(scores, np.float32)}
    path = saved(classifier([*body(), node(last, ["scores"], ["out"])], outputs=["out"], constants=broken), tmp_path)
    bundle = import_bundle(path, "sick", options(labels=None), tmp_path)
    assert (
        f"numbers that are NaN or infinite are stored in 'head.weight' ({5 * scores} of {5 * scores})" in bundle.notes
    )
    assert bundle.label_kind == kind
    assert bundle.layers[-1].weight_norm is None
    logits = session(tmp_path / "sick" / "forward.onnx").run(["logits"], {"input": images(2)})[0]
    assert logits.shape == (2, max(2, scores))
    assert np.isnan(logits).any(axis=1).all()


def test_numbers_where_the_file_has_none_are_a_disagreement() -> None:
    never = Reference(images(2), np.full((2, 4), np.nan), lambda given: np.full((2, 4), np.nan))
    never.require(lambda given: np.full((len(given), 4), np.nan))
    with pytest.raises(UnsupportedGraph, match="and the bundle's is not"):
        never.require(lambda given: np.zeros((len(given), 4)))


def test_scores_that_never_change_are_logits(tmp_path: Path) -> None:
    """Nothing shows that their sum, which is the same for every image, is that of probabilities."""
    constants = {"head.weight": np.zeros((4, 5), np.float32), "head.bias": np.full(4, 0.4, np.float32)}
    imported = import_classifier(saved(classifier(constants=constants), tmp_path), options())
    (found,) = runtime(imported.model).run(None, {"input": images(2)})
    assert found == pytest.approx(0.4)
