"""Whether a graph with a freed batch still answers as the file did."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from export.gradient.errors import UnsupportedGraph

Array = NDArray[Any]

TOLERANCE = 1e-4
SEED = 0


def evaluator(model: ModelProto) -> Callable[[Array], Array]:
    """The graph as a function of its input: ONNX Runtime where it is installed, else onnx's reference."""
    name = model.graph.input[0].name
    if find_spec("onnxruntime") is None:
        reference = ReferenceEvaluator(model)
        return lambda images: np.asarray(next(iter(reference.run(None, {name: images}))))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def require_same_answers(baked: ModelProto, freed: ModelProto, batch: int) -> None:
    """Run twice the baked batch through `freed` and, in two parts, through `baked`.

    Raises UnsupportedGraph where a sample's answer differs by more than 1e-4 of the largest.
    """
    sizes = [dimension.dim_value for dimension in baked.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(SEED).standard_normal((2 * batch, *sizes[1:])).astype(np.float32)
    fixed = evaluator(baked)
    try:
        found = evaluator(freed)(images)
    except Exception as error:
        raise UnsupportedGraph(f"the batch of {batch} cannot be made free; {ADVICE}") from error
    expected = np.concatenate([fixed(images[:batch]), fixed(images[batch:])])
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=TOLERANCE * scale):
        raise UnsupportedGraph(f"the graph mixes its {batch} samples; {ADVICE}")


ADVICE = "export the model with a free batch axis"
