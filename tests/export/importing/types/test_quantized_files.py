"""Files that ONNX Runtime's quantizer wrote: predictions are the file's own, gradients those of its float network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.func import functional_call

from export.importing.command import import_bundle
from export.verification.recheck import in_lines, recheck
from service.contract.bundle_schema import Bundle
from tests.export.importing.answer.references import LABEL, answers, session, shares, softmax
from tests.export.importing.types.quantized_files import (
    NETWORKS,
    OPTIONS,
    Array,
    dequantized,
    dynamically,
    in_float,
    network,
    operators,
    pictures,
    statically,
)

Quantizer = Callable[[Path], Path]

WAYS: dict[str, tuple[Quantizer, set[str]]] = {
    "QDQ": (lambda path: statically(path, "QDQ"), {"QuantizeLinear", "DequantizeLinear"}),
    "QDQ per channel": (lambda path: statically(path, "QDQ", per_channel=True), {"DequantizeLinear"}),
    "QDQ signed": (lambda path: statically(path, "QDQ", activations="QInt8"), {"DequantizeLinear"}),
    "QOperator": (lambda path: statically(path, "QOperator"), {"QLinearConv"}),
    "QOperator per channel": (lambda path: statically(path, "QOperator", per_channel=True), {"QLinearConv"}),
    "QOperator unsigned": (lambda path: statically(path, "QOperator", weights="QUInt8"), {"QGemm"}),
    "dynamic": (dynamically, {"ConvInteger", "MatMulInteger"}),
    "dynamic per channel": (lambda path: dynamically(path, per_channel=True), {"DynamicQuantizeLinear"}),
    "dynamic unsigned": (lambda path: dynamically(path, weights="QUInt8"), {"MatMulInteger"}),
}


def imported(path: Path, folder: Path) -> Bundle:
    return import_bundle(path, "stranger", OPTIONS, folder)


def own_scores(path: Path, images: Array) -> Array:
    """The file's own answers, one image at a time."""
    ready = session(path)
    name = ready.get_inputs()[0].name
    return np.concatenate([ready.run(None, {name: image[None]})[0] for image in images])


def gradients(name: str, parameters: dict[str, torch.Tensor], image: Array) -> tuple[dict[str, float], Array]:
    """Squared norms of the gradients of one sample by parameter, and of its input, by torch in float64."""
    leaves = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    x = torch.from_numpy(image[None]).double().requires_grad_()
    scores = functional_call(network(name).double(), leaves, (x,))
    nn.functional.cross_entropy(scores, torch.tensor([LABEL])).backward()  # type: ignore[no-untyped-call]
    squares = {key: float(leaf.grad.square().sum()) for key, leaf in leaves.items() if leaf.grad is not None}
    assert x.grad is not None
    return squares, x.grad.numpy()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_the_file_s_own_and_gradients_those_of_its_float_network(
    tmp_path: Path, name: str, way: str
) -> None:
    quantize, kinds = WAYS[way]
    path = quantize(in_float(name, tmp_path))
    assert kinds <= operators(path)
    assert "Relu" not in operators(path) or way.startswith("dynamic")
    bundle = imported(path, tmp_path)
    images = pictures(3)

    forward = answers(tmp_path, "forward", images)["logits"]
    assert np.allclose(forward, own_scores(path, images), atol=1e-5)
    assert operators(tmp_path / "stranger/forward.onnx") & kinds or "Scan" in operators(
        tmp_path / "stranger/forward.onnx"
    )

    assert bundle.quantized is not None
    floats = answers(tmp_path, "weight_norms", images)
    apart = np.abs(softmax(floats["logits"]) - softmax(forward)).max()
    assert 0 < apart < max(2 * bundle.quantized.probability_difference, 0.01)

    parameters = dequantized(path, name)
    inputs = answers(tmp_path, "input_gradient", images)["input_gradient"]
    for row, image in enumerate(images):
        expected, slope = gradients(name, parameters, image)
        assert np.linalg.norm(inputs[row] - slope[0]) <= 1e-4 * np.linalg.norm(slope)
        weights = [expected[f"{layer}.weight"] for layer in layers_of(name)]
        assert floats["weight_square"][row] == pytest.approx(weights, rel=1e-3)
    assert [layer.parameters for layer in bundle.layers] == [
        parameters[f"{layer}.weight"].numel() for layer in layers_of(name)
    ]


def layers_of(name: str) -> list[str]:
    """The layers in the order in which the network first uses them."""
    return [key.removesuffix(".weight") for key, value in network(name).named_parameters() if value.ndim > 1]


@pytest.mark.parametrize("way", ["QDQ per channel", "QOperator", "dynamic"])
def test_layers_keep_the_names_that_they_have_in_the_float_file(tmp_path: Path, way: str) -> None:
    bundle = imported(WAYS[way][0](in_float("branched", tmp_path)), tmp_path)
    assert [(layer.name, layer.bias) for layer in bundle.layers] == [
        ("stem", True), ("depth", True), ("point", True), ("head", True)
    ]  # fmt: skip
    assert bundle.other_parameters == ()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("way", ["QDQ", "QOperator", "dynamic"])
def test_verify_holds_the_float_network_to_central_differences(tmp_path: Path, name: str, way: str) -> None:
    imported(WAYS[way][0](in_float(name, tmp_path)), tmp_path)
    checks = recheck(tmp_path / "stranger")
    assert not any(check.difference > check.bound for check in checks), in_lines(checks)
    assert {"stored float network" in check.reference for check in checks[:2]} == {True}


@pytest.mark.parametrize("way", ["QDQ", "QOperator", "dynamic"])
def test_samples_never_mix_whatever_batch_the_file_was_exported_for(tmp_path: Path, way: str) -> None:
    """A dynamic scale is the batch's in the file; here every image has its own."""
    path = WAYS[way][0](in_float("branched", tmp_path, one_image=True))
    imported(path, tmp_path)
    images = pictures(4)
    images[2] *= 100
    together = answers(tmp_path, "forward", images)["logits"]
    assert np.allclose(together, own_scores(path, images), atol=1e-5)
    alone = np.concatenate([answers(tmp_path, "forward", image[None])["logits"] for image in images])
    assert np.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("way", ["QDQ", "QOperator", "dynamic"])
def test_probabilities_are_taken_before_they_are_rounded(tmp_path: Path, way: str) -> None:
    path = WAYS[way][0](in_float("branched", tmp_path, ending=lambda: nn.Softmax(dim=1)))
    bundle = imported(path, tmp_path)
    rounds = way != "dynamic"
    assert any("rounds its answer to integers" in note for note in bundle.notes) == rounds
    images = pictures(4)
    own = own_scores(path, images)
    found = softmax(answers(tmp_path, "forward", images)["logits"])
    assert np.abs(found - own).max() <= (1 / 128 if rounds else 1e-5)
    assert np.abs(found - shares(own)).max() <= (1 / 64 if rounds else 1e-5)
    assert len(set(softmax(answers(tmp_path, "weight_norms", images)["logits"]).ravel())) > len(images)


def test_the_file_s_own_graph_shares_the_bundle_s_weights_file(tmp_path: Path) -> None:
    imported(WAYS["QDQ"][0](in_float("branched", tmp_path)), tmp_path)
    forward = onnx.load(tmp_path / "stranger/forward.onnx", load_external_data=False)
    assert {tensor.data_type for tensor in forward.graph.initializer} >= {onnx.TensorProto.INT8}
    floats = [t for t in forward.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) > 50]
    assert not floats, "the forward graph holds the integers, and not the floats as well"
