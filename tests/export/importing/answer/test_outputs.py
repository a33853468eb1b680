"""The output that holds the scores is taken where it is plain which of several that is, and else asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from export.importing import ImportOptions, OptionMismatch, import_classifier
from export.importing.classifier import ImportedModel
from tests.export.importing.graphs import answer, body, classifier, images, node, options, saved, weights

ML = "ai.onnx.ml"
AUXILIARY = np.random.default_rng(3).standard_normal((5, 4), dtype=np.float32)
COARSE = np.random.default_rng(4).standard_normal((5, 2), dtype=np.float32)
SOFTMAX = node("Softmax", ["scores"], ["p"], axis=1)


def model(*nodes: NodeProto, outputs: dict[str, int], **constants: Any) -> ModelProto:
    """The tiny classifier with `nodes` behind it; `outputs` are names and element types."""
    made = classifier([*body(), *nodes], constants=constants, domains=[ML])
    del made.graph.output[:]
    made.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items())
    return made


def imported(made: ModelProto, folder: Path, **changes: Any) -> ImportedModel:
    return import_classifier(saved(made, folder), options(**changes))


def logits(found: ImportedModel) -> Any:
    return answer(found.model, images())


def scores() -> Any:
    return answer(classifier(), images())


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
DECISION = node("ArgMax", ["p"], ["label"], axis=1, keepdims=0)
PLAIN = {
    "features of another width beside them": model(outputs={"flat": FLOAT, "scores": FLOAT}),
    "feature maps beside them": model(outputs={"r": FLOAT, "scores": FLOAT}),
    "the decision beside them": model(SOFTMAX, DECISION, outputs={"label": INT64, "p": FLOAT}),
    "logits and their probabilities": model(SOFTMAX, outputs={"scores": FLOAT, "p": FLOAT}),
    "a coarser question beside them": model(
        node("MatMul", ["flat", "coarse"], ["groups"]), outputs={"groups": FLOAT, "scores": FLOAT}, coarse=COARSE
    ),
    "an auxiliary head, and a name that tells": model(
        node("MatMul", ["flat", "auxiliary"], ["extra"]),
        node("Identity", ["scores"], ["logits"]),
        outputs={"extra": FLOAT, "logits": FLOAT},
        auxiliary=AUXILIARY,
    ),
    "an auxiliary head, and a decision that tells": model(
        SOFTMAX,
        DECISION,
        node("MatMul", ["flat", "auxiliary"], ["extra"]),
        outputs={"extra": FLOAT, "p": FLOAT, "label": INT64},
        auxiliary=AUXILIARY,
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_only_output_that_can_hold_the_scores_is_taken(tmp_path: Path, name: str) -> None:
    found = imported(PLAIN[name], tmp_path)
    assert np.allclose(logits(found), scores(), atol=1e-5)
    assert any("holds the scores" in note for note in found.notes), found.notes


FINE = node("Identity", ["scores"], ["fine"])
AMBIGUOUS: dict[str, tuple[ModelProto, dict[str, Any]]] = {
    "two heads of four": (
        model(
            FINE,
            node("MatMul", ["flat", "auxiliary"], ["extra"]),
            outputs={"fine": FLOAT, "extra": FLOAT},
            auxiliary=AUXILIARY,
        ),
        {},
    ),
    "two questions and no labels": (
        model(
            FINE,
            node("MatMul", ["flat", "coarse"], ["groups"]),
            outputs={"fine": FLOAT, "groups": FLOAT},
            coarse=COARSE,
        ),
        {"labels": None},
    ),
    "features and a decision": (model(SOFTMAX, DECISION, outputs={"flat": FLOAT, "label": INT64}), {}),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_where_several_can_hold_them_they_are_asked_for_with_their_shapes(tmp_path: Path, name: str) -> None:
    made, changes = AMBIGUOUS[name]
    with pytest.raises(OptionMismatch, match=r"choose one with --output: ") as caught:
        imported(made, tmp_path, **changes)
    for value in made.graph.output:
        assert f"{value.name} (" in str(caught.value)
    assert "[N, " in str(caught.value)


def test_a_decision_names_the_tensor_that_it_is_taken_from(tmp_path: Path) -> None:
    with pytest.raises(OptionMismatch, match="but from 'p'"):
        imported(AMBIGUOUS["features and a decision"][0], tmp_path)


SIGMOIDS = node("Sigmoid", ["scores"], ["each"])


@pytest.mark.parametrize("order", [("scores", "each"), ("each", "scores")])
def test_sigmoids_beside_their_logits_tell_that_labels_are_independent(tmp_path: Path, order: tuple[str, str]) -> None:
    found = imported(model(SIGMOIDS, outputs=dict.fromkeys(order, FLOAT)), tmp_path)
    assert found.label_kind == "independent"
    assert np.allclose(logits(found), scores(), atol=1e-5)


def test_logits_that_the_file_makes_sigmoids_of_are_not_taken_for_exclusive_ones_in_silence(tmp_path: Path) -> None:
    made = model(SIGMOIDS, outputs={"each": FLOAT})
    with pytest.raises(OptionMismatch, match=r"makes sigmoids of it .*--labels-are independent, or exclusive"):
        imported(made, tmp_path, output="scores")
    assert imported(made, tmp_path, output="scores", labels_are="exclusive").label_kind == "exclusive"
    assert imported(made, tmp_path, output="scores", labels_are="independent").label_kind == "independent"


def zipped(**attributes: Any) -> ModelProto:
    """`label` and `probabilities`, as converters of scikit-learn and Azure Custom Vision write them."""
    zip_map = node("ZipMap", ["p"], ["probabilities"], "zip", domain=ML, **attributes)
    made = model(SOFTMAX, DECISION, zip_map, outputs={"label": INT64})
    key = TensorProto.STRING if "classlabels_strings" in attributes else INT64
    value = helper.make_tensor_type_proto(FLOAT, None)
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    made.graph.output.append(helper.make_value_info("probabilities", kind))
    return made


@pytest.mark.parametrize("output", [None, "probabilities"])
def test_a_zip_map_is_cut_off_and_its_labels_are_kept(tmp_path: Path, output: str | None) -> None:
    made = zipped(classlabels_strings=["w", "x", "y", "z"])
    onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])  # it is what it claims
    found = imported(made, tmp_path, labels=None, output=output)
    assert found.labels == ("w", "x", "y", "z")
    assert np.allclose(logits(found), scores(), atol=1e-5)
    assert any("ZipMap" in note for note in found.notes)


def test_a_zip_map_of_numbers_gives_numbers_and_flags_come_first(tmp_path: Path) -> None:
    made = zipped(classlabels_int64s=[3, 5, 7, 9])
    assert imported(made, tmp_path, labels=None).labels == ("3", "5", "7", "9")
    found = imported(made, tmp_path)
    assert found.labels == ("ant", "bee", "cat", "dog")
    assert any("calls its classes otherwise: 3, 5" in note for note in found.notes)


def test_labels_that_the_decision_is_looked_up_in_are_kept(tmp_path: Path) -> None:
    names = np.array(["w", "x", "y", "z"], dtype=object)
    lookup = node("ArrayFeatureExtractor", ["names", "index"], ["name"], domain=ML)
    nodes = [SOFTMAX, node("ArgMax", ["p"], ["index"], axis=1, keepdims=0), lookup]
    made = model(*nodes, outputs={"name": TensorProto.STRING, "p": FLOAT})
    made.graph.initializer.append(helper.make_tensor("names", TensorProto.STRING, [4], names.tolist()))
    assert imported(made, tmp_path, labels=None).labels == ("w", "x", "y", "z")


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX"])
def test_a_linear_classifier_is_a_layer(tmp_path: Path, transform: str) -> None:
    """scikit-learn's logistic regression on a network's features is written so."""
    values = weights()
    linear = node(
        "LinearClassifier",
        ["flat"],
        ["label", "z"],
        "regression",
        domain=ML,
        coefficients=values["head.weight"].reshape(-1).tolist(),
        intercepts=values["head.bias"].tolist(),
        classlabels_strings=["w", "x", "y", "z"],
        post_transform=transform,
    )
    last = [node("Normalizer", ["z"], ["p"], domain=ML, norm="L1")] if transform == "SOFTMAX" else []
    made = classifier([*body()[:-1], linear, *last], domains=[ML])
    del made.graph.output[:]
    kinds = {"label": TensorProto.STRING, "p" if last else "z": FLOAT}
    made.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items())
    found = import_classifier(saved(made, tmp_path), ImportOptions(labels=None, mean=(0.5,) * 3, std=(0.25,) * 3))
    assert found.labels == ("w", "x", "y", "z")
    assert np.allclose(logits(found), scores(), atol=1e-5)
    assert {"regression.weight", "regression.bias"} <= {tensor.name for tensor in found.model.graph.initializer}


def test_trees_are_refused_in_a_sentence(tmp_path: Path) -> None:
    tree = node("TreeEnsembleClassifier", ["flat"], ["label", "z"], "tree", domain=ML, classlabels_int64s=[0, 1, 2, 3])
    made = classifier([*body()[:-1], tree], outputs=["z"], domains=[ML])
    with pytest.raises(Exception, match=r"TreeEnsembleClassifier \(node 'tree'\)"):
        imported(made, tmp_path)
