"""OpenVINO and onnx's reference evaluator as runs of a float32 graph, and when two runs agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from onnx import ModelProto

from export.running.reference import evaluator
from export.running.runs import Run

Outputs = Mapping[str, NDArray[Any]]


def in_openvino(model: ModelProto) -> Run:
    """Prepare a graph to run on OpenVINO's processor plugin, which takes bfloat16 by itself where there is any."""
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = compiled(feeds)
        return {output.name: found[output.name] for output in model.graph.output}

    return run


def in_reference(model: ModelProto) -> Run:
    """Prepare a graph to run in onnx's reference evaluator."""
    ready = evaluator(model)

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with np.errstate(over="ignore"):  # a rectifier's step leaves float32's range, and is cut to 1
            return dict(zip(ready.output_names, ready.run(None, dict(feeds)), strict=True))

    return run


OTHERS: dict[str, Callable[[ModelProto], Run]] = {"OpenVINO": in_openvino, "onnx's reference": in_reference}


def assert_agree(found: Outputs, expected: Outputs, tolerance: float) -> None:
    """No output differs by more than `tolerance` of its largest entry; of a square, of the largest in its column."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        scale = np.abs(value).max(axis=0 if name.endswith("_square") else None, initial=0)
        difference = np.abs(found[name] - value)
        relative = np.divide(difference, scale, out=np.zeros_like(difference), where=difference != 0)
        assert relative.max(initial=0) <= tolerance, f"{name} differs by {relative.max():.1e}"
