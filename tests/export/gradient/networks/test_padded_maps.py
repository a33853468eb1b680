"""A map that a Pad reads too: ONNX Runtime cannot load the graph if an Identity copies it (TensorFlow's padding)."""

from __future__ import annotations

import numpy as np
import onnxruntime

from export.gradient import differentiate, prepare
from tests.export.importing.graphs import answer, body, classifier, images, node


def test_feature_maps_run_where_a_pad_reads_a_clip() -> None:
    nodes = body()
    nodes[1:2] = [
        node("Clip", ["y", "low", "high"], ["c"], "clip"),
        node("Pad", ["c", "pads"], ["p"], "pad"),
        node("Conv", ["p", "second.weight"], ["r"], "second"),
    ]
    second = np.random.default_rng(5).standard_normal((5, 5, 3, 3), dtype=np.float32) / 7
    constants = {
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
        "second.weight": second,
    }
    model = classifier(nodes, constants=constants)
    graph = differentiate(prepare(model, constants=("low", "high")), "feature_maps")
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip((o.name for o in session.get_outputs()), session.run(None, {"input": images()}), strict=True))
    np.testing.assert_allclose(found["logits"], answer(model, images()), rtol=1e-4, atol=1e-5)
    assert found["map/conv"].shape == (2, 5, 6, 6)
    assert found["map/conv"].min() >= 0
    assert found["map/conv"].max() <= 6
