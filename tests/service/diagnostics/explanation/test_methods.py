"""The four methods on a real network, held to formulas that are written out here."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.contract.arrays import Array
from service.contract.bundle_schema import THE_IMAGE
from service.diagnostics.explanation.asked import Asked, layer_of, one_label_each
from service.diagnostics.explanation.evidence import Evidence
from service.diagnostics.explanation.maps import at_picture_size
from service.diagnostics.explanation.methods import evidence
from service.diagnostics.explanation.smooth_grad import NOISE
from service.errors import InvalidLabel, InvalidParameter, NotExplainable
from service.images.preprocess import normalise
from service.offline.model import OfflineModel
from tests.service.explained_bundles import MAPS

PIXELS = np.random.default_rng(5).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
PREDICTED = np.full(3, -1, np.int64)


def explained(model: OfflineModel, asked: Asked, pixels: Array = PIXELS, labels: Array = PREDICTED) -> Evidence:
    return asyncio.run(evidence(model.run, model.bundle, pixels, labels, asked))


def gradient_at(model: OfflineModel, inputs: Array, label: int) -> NDArray[np.float64]:
    labels = np.full(len(inputs), label, np.int64)
    outputs = asyncio.run(model.run("explanation", inputs, labels, layer=THE_IMAGE))
    return np.asarray(outputs["logit_gradient"], np.float64).reshape(inputs.shape)


def test_the_last_layer_with_a_map_is_explained_unless_another_is_named(model: OfflineModel) -> None:
    assert {layer.name: layer.map_size for layer in model.bundle.layers if layer.map_size} == MAPS
    assert layer_of(model.bundle, None) == layer_of(model.bundle, "second")
    for name, size in MAPS.items():
        assert explained(model, Asked(layer=name)).values.shape == (3, *size)


def test_the_evidence_at_the_last_map_is_the_logit_without_its_bias(model: OfflineModel) -> None:
    """Behind that map there is a mean over the positions and a linear layer, so that the slope is the same anywhere."""
    for label in range(4):
        found = explained(model, Asked(), labels=np.full(3, label, np.int64))
        biases = found.logits[:, label] - found.values.sum(axis=(1, 2))
        assert np.ptp(biases) < 1e-4
        assert np.ptp(found.logits[:, label]) > 0.1, "or there would be nothing to explain"


def test_integrated_gradients_are_the_integral_and_add_up(model: OfflineModel) -> None:
    found = explained(model, Asked("integrated_gradients", steps=256), labels=np.array([2, 0, 1]))
    inputs = normalise(PIXELS, model.bundle.input)
    assert found.completeness is not None
    for row, label in enumerate((2, 0, 1)):
        t = ((np.arange(2000) + 0.5) / 2000).astype(np.float32).reshape(-1, 1, 1, 1)
        parts = [gradient_at(model, t[some] * inputs[row], label) for some in np.arange(2000).reshape(20, 100)]
        mean = np.mean(parts, axis=(0, 1))
        expected = (mean * inputs[row]).sum(axis=0)
        assert np.abs(found.values[row] - expected).max() < 0.02 * np.abs(expected).max()
        said = found.completeness[row]
        assert said.difference == pytest.approx(found.logits[row, label] - said.baseline_logit, rel=1e-5)
        assert said.evidence_sum == pytest.approx(found.values[row].sum(), rel=1e-9)
        assert said.evidence_sum == pytest.approx(said.difference, abs=0.01 * np.abs(found.values[row]).sum())
        assert said.holds == (said.relative_error <= 0.01)


def test_input_x_gradient_is_the_product(model: OfflineModel) -> None:
    found = explained(model, Asked("input_x_gradient"), labels=np.array([1, 1, 1]))
    inputs = normalise(PIXELS, model.bundle.input)
    np.testing.assert_allclose(found.values, (gradient_at(model, inputs, 1) * inputs).sum(axis=1), rtol=1e-6)


def test_smooth_grad_is_the_mean_of_noisy_copies_and_always_the_same(model: OfflineModel) -> None:
    found = explained(model, Asked("smooth_grad", steps=16), labels=np.array([1, 1, 1]))
    inputs = normalise(PIXELS, model.bundle.input)
    noise = np.random.default_rng(0).standard_normal((16, 3, 16, 16), np.float32)
    copies = inputs[0] + np.float32(NOISE * np.ptp(inputs[0])) * noise
    expected = np.abs(gradient_at(model, copies, 1).mean(axis=0)).max(axis=0)
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-5, atol=1e-9)
    again = explained(model, Asked("smooth_grad", steps=16), PIXELS[1:2], np.array([1]))
    np.testing.assert_allclose(again.values[0], found.values[1], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("asked", [Asked(), Asked("integrated_gradients", steps=16), Asked("input_x_gradient")])
def test_an_image_alone_has_the_map_that_it_has_among_others(model: OfflineModel, asked: Asked) -> None:
    together = explained(model, asked)
    for row in range(3):
        alone = explained(model, asked, PIXELS[row : row + 1], PREDICTED[:1])
        np.testing.assert_allclose(alone.values[0], together.values[row], rtol=1e-4, atol=1e-7)
        assert alone.labels[0] == together.labels[row] == np.argmax(together.logits[row])


def test_one_of_several_independent_labels_must_be_named(model: OfflineModel) -> None:
    given = np.array([[-1, -1, -1, -1], [0, 0, 1, 0]])
    assert one_label_each(model.bundle, given).tolist() == [-1, 2]
    for wrong in ([[1, 1, 0, 0]], [[0, 0, 0, 0]]):
        with pytest.raises(InvalidLabel, match="An explanation is of one label"):
            one_label_each(model.bundle, np.array(wrong))


def test_a_layer_without_a_map_is_refused_with_the_nearest_that_has_one(model: OfflineModel) -> None:
    with pytest.raises(NotExplainable, match=r"has no map of the picture: its output is 4\. The nearest .* is second"):
        layer_of(model.bundle, "last")
    with pytest.raises(InvalidParameter, match="has no layer 'secnod'; did you mean 'second'"):
        layer_of(model.bundle, "secnod")
    layers = tuple(layer.model_copy(update={"map_size": None}) for layer in model.bundle.layers)
    tokens = model.bundle.model_copy(update={"layers": layers})
    with pytest.raises(NotExplainable, match=r"No layer of net has a map .* explain any network"):
        layer_of(tokens, None)


def test_a_bundle_from_before_is_refused_and_told_what_to_do(model: OfflineModel) -> None:
    graphs = {name: graph for name, graph in model.bundle.graphs.items() if name != "explanation"}
    before = model.bundle.model_copy(update={"graphs": graphs})
    with pytest.raises(NotExplainable, match="Import the model again"):
        asyncio.run(evidence(model.run, before, PIXELS, PREDICTED, Asked()))


def test_torch_interpolates_as_we_do() -> None:
    for size in ((7, 7), (8, 5), (1, 1), (2, 3)):
        values = np.random.default_rng(1).standard_normal(size)
        given = torch.from_numpy(values)[None, None]
        expected = torch.nn.functional.interpolate(given, (33, 20), mode="bilinear", align_corners=False)
        np.testing.assert_allclose(at_picture_size(values, 33, 20), expected[0, 0].numpy(), atol=1e-12)
