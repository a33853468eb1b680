"""A bundle's graph as a function of its inputs: as it is served, and in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime

from export.running.reference import evaluator

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""A graph as a function: inputs by name → outputs by name."""


def in_onnxruntime(model: onnx.ModelProto) -> Run:
    """Prepare a float32 graph to run on ONNX Runtime's CPU provider."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def in_float64(model: onnx.ModelProto) -> Run:
    """Prepare a float64 graph to run in onnx's reference evaluator; float32 inputs are promoted."""
    ready = evaluator(model)
    names = [output.name for output in model.graph.output]

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        promoted = {
            name: value.astype(np.float64) if np.issubdtype(value.dtype, np.floating) else value
            for name, value in feeds.items()
        }
        return dict(zip(names, ready.run(None, promoted), strict=True))

    return run
