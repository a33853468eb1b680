"""Every graph of every shipped bundle computes in other runtimes what it computes in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.running.runs import in_onnxruntime
from export.statistics.evaluate import normalized
from export.writing.bundle import read_bundle_and_graphs
from tests.export.gradient.runtimes.runtimes import OTHERS, assert_agree

ROOT = Path(__file__).parents[4]
BUNDLES = ROOT / "models" / "bundles"
QUICK = {("plain20-sigmoid", "OpenVINO"), ("resnet20", "OpenVINO")}
TOLERANCE = {"plain56": 1e-2, "plain56-relu-exploding": 1e-1}
"""Where it is not 1e-4: 56 layers without shortcuts amplify rounding, so that a rectifier's mask falls either way."""
PHOTOGRAPHS = {"cat": 3, "ship": 8, "frog": -1}
"""Samples and their labels; −1 is the predicted class."""


def bundles_and_runtimes() -> list[Any]:
    """All pairs, most of them slow."""
    pairs = []
    for name in sorted(folder.name for folder in BUNDLES.iterdir()):
        for runtime in OTHERS:
            marks = [] if (name, runtime) in QUICK else [pytest.mark.slow]
            pairs.append(pytest.param(name, runtime, marks=marks))
    return pairs


@pytest.mark.parametrize(("name", "runtime"), bundles_and_runtimes())
def test_shipped_graphs_agree_with_onnx_runtime(name: str, runtime: str) -> None:
    bundle, graphs = read_bundle_and_graphs(BUNDLES / name)
    pixels = np.stack([np.asarray(Image.open(ROOT / f"tests/photographs/{picture}.jpg")) for picture in PHOTOGRAPHS])
    given = {
        "input": normalized(pixels, bundle.input),
        "label": np.array([*PHOTOGRAPHS.values()]),
        "cotangent_scale": np.ones(len(pixels), np.float32),
    }
    # The graph in stages is left out: its empty tensors have been tried in ONNX Runtime alone.
    for model in [model for graph, model in graphs.items() if graph != "explanation"]:
        feeds = {value.name: given[value.name] for value in model.graph.input}
        found, expected = OTHERS[runtime](model)(feeds), in_onnxruntime(model)(feeds)
        assert_agree(found, expected, TOLERANCE.get(name, 1e-4))
