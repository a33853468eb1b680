"""Bundles of files with a given ending, their answers, and slow, obvious references for these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.gradient import to_float64
from export.importing.command import import_bundle
from export.running.reference import evaluator
from service.contract.bundle_schema import Bundle
from tests.export.importing.answer.endings import Ending
from tests.export.importing.graphs import options, saved

Array = NDArray[Any]

LABEL = 1
STEP = 1e-5
QUIET = onnxruntime.SessionOptions()
QUIET.log_severity_level = 3


def session(model: ModelProto | Path) -> onnxruntime.InferenceSession:
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(given, QUIET, providers=["CPUExecutionProvider"])


def softmax(rows: Array) -> Array:
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def shares(rows: Array) -> Array:
    """The right answer of /predict to a file's own scores, if they are probabilities."""
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    if rows.shape[1] == 1:
        return np.hstack([1 - rows, rows])
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def bundled(ending: Ending, folder: Path, sharpness: float = 1.0, **changes: Any) -> Bundle:
    if len(ending.outputs) > 1:
        changes["output"] = "out"
    path = saved(ending.model(sharpness), folder)
    return import_bundle(path, "stranger", options(labels=ending.names or None, **changes), folder)


def answers(folder: Path, graph: str, batch: Array) -> dict[str, Array]:
    """A graph of the bundle, for the class `LABEL`."""
    ready = session(folder / "stranger" / f"{graph}.onnx")
    given = {"input": batch, "label": np.full(len(batch), LABEL), "cotangent_scale": np.ones(len(batch), np.float32)}
    outputs = [value.name for value in ready.get_outputs()]
    return dict(zip(outputs, ready.run(None, {i.name: given[i.name] for i in ready.get_inputs()}), strict=True))


def slopes(model: ModelProto, image: Array, read: Callable[[Array], Array], names: list[str]) -> dict[str, float]:
    """‖dL/dW‖ of the named weights by central differences of −ln read(answer)[LABEL], in float64."""
    double = to_float64(model)
    weights = {
        tensor.name: np.array(numpy_helper.to_array(tensor))
        for tensor in double.graph.initializer
        if tensor.name in names
    }
    for tensor in [tensor for tensor in double.graph.initializer if tensor.name in names]:
        double.graph.initializer.remove(tensor)
        double.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.DOUBLE, tensor.dims))
    ready = evaluator(double)

    def loss() -> float:
        found = dict(zip(ready.output_names, ready.run(None, {"image": image, **weights}), strict=True))
        return -float(np.log(read(found["out"])[0, LABEL]))

    norms = {}
    for name, value in weights.items():
        gradient = np.zeros(value.size)
        flat = value.reshape(-1)
        for place in range(value.size):
            middle = flat[place]
            ends = []
            for sign in (1, -1):
                flat[place] = middle + sign * STEP
                ends.append(loss())
            flat[place] = middle
            gradient[place] = (ends[0] - ends[1]) / (2 * STEP)
        norms[name] = float(np.linalg.norm(gradient))
    return norms


def weights_of(ending: Ending) -> list[str]:
    used = {name for entry in ending.nodes for name in entry.input}
    return ["conv.weight", *(name for name in ("second", "one") if name in used and ending.constants[name].ndim == 2)]
