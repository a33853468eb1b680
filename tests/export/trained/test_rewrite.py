"""A shipped bundle can be rewritten from its own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from export.gradient import differentiate, prepare
from export.trained.forward import RunError, constants_of, forward_graph
from export.trained.rewrite import rebuilt, restore_stored_weights
from export.writing.bundle import read_bundle_and_graphs

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"


@pytest.mark.parametrize("name", ["resnet20", "plain20-relu"])
def test_a_shipped_network_is_rebuilt_with_its_weights_to_the_bit(name: str) -> None:
    folder = BUNDLES / name
    bundle, graphs = read_bundle_and_graphs(folder)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graphs["forward"].graph.initializer}
    network = rebuilt(bundle, weights, folder)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    served = onnxruntime.InferenceSession(folder / "forward.onnx").run(["logits"], {"input": images})[0]
    with torch.no_grad():
        np.testing.assert_allclose(network(torch.from_numpy(images)).numpy(), served, atol=1e-4)
    ready = prepare(forward_graph(network, 32), constants=constants_of(network))
    restore_stored_weights(ready, weights)
    for layer in ready.weighted:
        np.testing.assert_array_equal(ready.graph.constants[layer.operand], weights[layer.operand])
    written = {tensor.name: tensor for tensor in differentiate(ready, "activation_norms").graph.initializer}
    for layer in ready.weighted:
        np.testing.assert_array_equal(numpy_helper.to_array(written[layer.operand]), weights[layer.operand])
    assert [layer.name for layer in ready.layers] == [layer.name for layer in bundle.layers]


def test_a_bundle_without_its_normalization_is_refused(tmp_path: Path) -> None:
    bundle, graphs = read_bundle_and_graphs(BUNDLES / "resnet20")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graphs["forward"].graph.initializer}
    with pytest.raises(RunError, match="does not hold stem_norm"):
        rebuilt(bundle, weights, tmp_path)
