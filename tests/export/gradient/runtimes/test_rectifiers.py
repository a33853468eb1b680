"""The step that stands for a comparison with zero in our graphs has the same value in other runtimes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from export.gradient import differentiate
from export.gradient.layout.masks import OFFSET, SLOPE
from export.running.runs import Run, in_onnxruntime
from service.contract.outputs import outputs_of
from tests.export.gradient.networks.torch_networks import catalogued, feeds, prepared
from tests.export.gradient.runtimes.runtimes import OTHERS, assert_agree

LEAST, LARGEST = np.finfo(np.float32).smallest_normal, np.finfo(np.float32).max


@pytest.mark.parametrize("runtime", [in_onnxruntime, *OTHERS.values()])
def test_the_step_is_0_at_0_and_1_above(runtime: Callable[[ModelProto], Run]) -> None:
    values = np.array([0.0, -0.0, LEAST, 2 * LEAST, 1e-30, 1e-3, 1.0, 1e30, LARGEST], np.float32)
    step = helper.make_node("HardSigmoid", ["y"], ["step"], alpha=SLOPE, beta=OFFSET)
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("y", "step")]
    graph = helper.make_graph([step], "step", rows[:1], rows[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    np.testing.assert_array_equal(runtime(model)({"y": values})["step"], values > 0)


@pytest.mark.parametrize("runtime", OTHERS)
@pytest.mark.parametrize("name", ["resnet20", "plain8"])
def test_networks_of_convolutions_and_rectifiers_agree_with_onnx_runtime(name: str, runtime: str) -> None:
    model = differentiate(prepared(catalogued(name)), (*outputs_of("batch_norms"), "input_gradient"))
    image = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    given = feeds(image, (3, -1, 0))
    assert_agree(OTHERS[runtime](model)(given), in_onnxruntime(model)(given), 1e-4)
