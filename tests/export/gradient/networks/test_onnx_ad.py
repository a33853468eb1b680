"""onnx-ad, an independent engine, as an oracle for the input gradient (docs/decisions/0001)."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ad
import pytest
from onnx import ModelProto

from export.gradient import differentiate, prepare
from export.running.reference import evaluate
from tests.export.importing.graphs import CLASSES, body, classifier, images, node

BATCH = 2


def with_fixed_batch(model: ModelProto) -> ModelProto:
    fixed = ModelProto()
    fixed.CopyFrom(model)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = BATCH
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def branched() -> ModelProto:
    """A shortcut around a second convolution: the image's cotangents accumulate."""
    nodes = body()
    nodes[1:2] = [
        node("Relu", ["y"], ["h"], "relu"),
        node("Conv", ["h", "second.weight"], ["u"], "second", pads=[1, 1, 1, 1]),
        node("Add", ["u", "h"], ["r"], "shortcut"),
    ]
    second = np.random.default_rng(5).standard_normal((5, 5, 3, 3), dtype=np.float32) / 7
    return classifier(nodes, constants={"second.weight": second})


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # the mask's steep HardSigmoid
def test_onnx_ad_finds_the_same_input_gradient() -> None:
    model, x = branched(), images(BATCH)
    ours = differentiate(prepare(model), "input_gradient")
    label = np.array([1, 3], dtype=np.int64)
    answer = evaluate(ours, {"input": x, "label": label, "cotangent_scale": np.ones(BATCH, np.float32)})
    z = answer["logits"].astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    seed = (p / p.sum(1, keepdims=True) - np.eye(CLASSES)[label]).astype(np.float32)
    theirs = onnx_ad.reverse(with_fixed_batch(model), layout="onnx")
    found = evaluate(theirs, {"image": x, theirs.graph.input[1].name: seed[..., None]})
    expected = found[theirs.graph.output[-1].name][..., 0]
    assert np.abs(answer["input_gradient"] - expected).max() <= 1e-6 * np.abs(expected).max() + 1e-9


def test_onnx_ad_still_refuses_a_free_batch() -> None:
    """The day it does not, the decision is to be looked at again."""
    with pytest.raises(Exception, match="declared input shape"):
        onnx_ad.reverse(branched(), layout="onnx")
