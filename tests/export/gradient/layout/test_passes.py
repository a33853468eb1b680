"""The passes replace what the rules emit, and ONNX Runtime keeps the result in its blocked layout."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import Tensor, nn

from export.gradient import differentiate
from export.gradient.norms.layers import WeightedLayer
from tests.export.gradient.networks.torch_networks import catalogued, feeds, prepared

BLOCKED = "com.microsoft.nchwc"


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


class Stages(nn.Module):
    """Two strided convolutions of one tensor, as a residual stage has them, and a mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.main = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.short = nn.Conv2d(channels, channels, 1, stride=2)
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        scores: Tensor = self.head((self.main(h) + self.short(h)).relu().mean((2, 3)))
        return scores


def test_the_phases_of_two_strided_convolutions_are_summed_before_they_are_interleaved() -> None:
    found = operators(differentiate(prepared(Stages(16), (3, 8, 8)), "input_gradient"))
    assert found["ConvTranspose"] == 0
    assert found["AveragePool"] == 2  # behind the sum and behind the mean
    # Forward; backward, where main has four phases; the masks of two rectifiers.
    assert found["Conv"] == 3 + (1 + 4 + 1) + 2


def test_maps_that_do_not_fill_blocks_are_left_alone() -> None:
    found = operators(differentiate(prepared(Stages(12), (3, 8, 8)), "input_gradient"))
    assert found["AveragePool"] == 0
    assert found["Conv"] == 3 + 3


def test_sums_over_positions_are_means_joined_before_they_leave_the_blocks() -> None:
    found = operators(differentiate(prepared(Stages(16), (3, 8, 8)), ("bias_square",)))
    assert found["GlobalAveragePool"] == 2  # main and short have one cotangent
    assert found["ReduceSum"] == 1 + 1 + 1  # of the label's own component, and of the squares of either width


@pytest.mark.parametrize("graph", ["activation_norms", "input_gradient"])
def test_onnx_runtime_computes_every_convolution_in_its_blocked_layout(graph: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    model = differentiate(prepared(catalogued("resnet20")), graph)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx").graph.node
    blocked = Counter(node.op_type for node in optimized if node.domain == BLOCKED)
    if not blocked:
        pytest.skip("this processor has no blocked layout")
    assert blocked["Conv"] == operators(model)["Conv"]
    assert all(node.op_type != "Conv" or node.domain == BLOCKED for node in optimized)


def test_onnx_runtime_forms_each_weight_gradient_as_soon_as_its_cotangent_is_known(tmp_path: Path) -> None:
    ready = prepared(catalogued("plain20"))
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    model = differentiate(ready, "weight_norms")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, feeds(np.zeros((1, 3, 32, 32), np.float32), [0]))
    events = json.loads(Path(session.end_profiling()).read_text())
    kernels = sorted(
        (event for event in events if event["name"].endswith("_kernel_time")), key=lambda event: event["ts"]
    )
    order = [event["name"] for event in kernels]

    def first(layer: WeightedLayer, operator: str) -> int:
        return next(
            place for place, name in enumerate(order) if name.startswith(f"{layer.nodes[0].name}/gradient/{operator}")
        )

    convolutions = ready.weighted[1:-1]  # of the image no gradient is asked
    for before, layer in pairwise(convolutions):
        assert first(layer, "MatMul") < first(before, "Conv"), layer.source
