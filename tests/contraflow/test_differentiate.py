"""`contraflow.differentiate`: names and shapes of what goes in and comes out are those that its docstring says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

import contraflow as cf
from tests.export.importing.graphs import CLASSES, SIZE, classifier

LAYERS = 2


def outputs_of(graph: onnx.ModelProto, **feeds: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert {given.name for given in session.get_inputs()} == set(feeds)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def test_the_norms_of_a_bare_graph() -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, SIZE, SIZE), dtype=np.float32)
    graph = cf.differentiate(classifier())
    found = outputs_of(graph, input=images, label=np.array([0, 1, -1]), cotangent_scale=np.ones(3, np.float32))
    assert {name: value.shape for name, value in found.items()} == {
        "logits": (3, CLASSES),
        "activation_square": (3, LAYERS),
        "weight_square": (3, LAYERS),
        "scaled_square": (3, LAYERS),
        "bias_square": (3, LAYERS),
        "other_square": (3, 0),
        "features": (3, 5),
    }
    # The gradient of the last layer's bias is softmax − onehot itself.
    exponentials = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    expected[np.arange(3), [0, 1, found["logits"][2].argmax()]] -= 1
    np.testing.assert_allclose(found["bias_square"][:, -1], (expected**2).sum(axis=1), rtol=1e-5)


def test_a_graph_without_a_backward_pass_takes_the_image_alone() -> None:
    images = np.zeros((2, 3, SIZE, SIZE), np.float32)
    found = outputs_of(cf.differentiate(classifier(), ["logits"]), input=images)
    assert found["logits"].shape == (2, CLASSES)


def test_the_input_s_gradient_has_its_shape() -> None:
    images = np.ones((2, 3, SIZE, SIZE), np.float32)
    graph = cf.differentiate(classifier(), "input_gradient")
    found = outputs_of(graph, input=images, label=np.array([1, 1]), cotangent_scale=np.ones(2, np.float32))
    assert found["input_gradient"].shape == images.shape
