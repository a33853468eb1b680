"""Slow, obvious references: the operator's network in double precision, and central differences."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.gradient import OPSET, to_float64
from export.running.reference import evaluate, evaluator
from tests.export.gradient.cases.case import Case, Computed

CLASSES = 4
STEP = 1e-5


@lru_cache(maxsize=4)
def network(case: Case, classes: int = CLASSES) -> onnx.ModelProto:
    """image → x → operator → flatten → linear, plus x → flatten → linear: a net with a branch."""
    initializers = {"offset": np.full(1, 0.05, np.float32), "half": np.full(1, 0.5, np.float32)}
    nodes = [
        helper.make_node("Add", ["image", "offset"], ["x"], name="x"),
        helper.make_node("Sigmoid", ["x"], ["curved"], name="curved"),
        helper.make_node("Add", ["curved", "half"], ["u"], name="u"),
    ]

    def named(operand: Any, place: str) -> str:
        if isinstance(operand, str) or operand is None:
            return operand or ""
        if isinstance(operand, Computed):
            inner = [named(entry, f"{place}_{index}") for index, entry in enumerate(operand.operands)]
            results = [f"{place}:{index}" for index in range(operand.output + 1)]
            nodes.append(helper.make_node(operand.operator, inner, results, name=place, **operand.attributes))
            return results[operand.output]
        initializers[f"{place}.weight"] = operand
        return f"{place}.weight"

    names = [named(operand, f"p{position}") for position, operand in enumerate(case.operands)]
    outputs = [f"y{index}" for index in range(case.outputs)]
    demanded = defs.get_schema(case.operator, OPSET).min_output
    unread = [f"unread{index}" for index in range(case.outputs, demanded)]
    nodes.append(helper.make_node(case.operator, names, [*outputs, *unread], name="operator", **case.attributes))
    for index, tensor in enumerate((*outputs, "x")):
        nodes.append(helper.make_node("Flatten", [tensor], [f"flat{index}"], name=f"flat{index}", axis=1))

    def model(tail: list[onnx.NodeProto], results: list[str]) -> onnx.ModelProto:
        return helper.make_model(
            helper.make_graph(
                [*nodes, *tail],
                "case",
                [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *case.image])],
                [helper.make_empty_tensor_value_info(name) for name in results],
                [numpy_helper.from_array(value, name) for name, value in initializers.items()],
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=10,
        )

    flats = [f"flat{index}" for index in range(case.outputs + 1)]
    widths = evaluate(model([], flats), {"image": images(case, 1).astype(np.float32)})
    tail = []
    rng = np.random.default_rng(7)
    for index, name in enumerate(flats):
        width = widths[name].shape[1]
        initializers[f"head{index}.weight"] = (rng.normal(size=(width, classes)) / np.sqrt(width)).astype(np.float32)
        tail.append(helper.make_node("MatMul", [name, f"head{index}.weight"], [f"part{index}"], name=f"head{index}"))
    total = "part0"
    for index in range(1, len(flats)):
        tail.append(helper.make_node("Add", [total, f"part{index}"], [f"sum{index}"], name=f"sum{index}"))
        total = f"sum{index}"
    built = model(tail, [total])
    del built.graph.output[:]
    built.graph.output.append(helper.make_tensor_value_info(total, TensorProto.FLOAT, ["N", classes]))
    return built


def images(case: Case, batch: int) -> np.ndarray:
    """Images within the case's domain, away from the kinks that a central difference would straddle."""
    rng = np.random.default_rng([batch, *case.image])
    low, high = case.domain
    size = int(np.prod(case.image))
    spaced = np.linspace(low, high, size * batch)
    drawn = np.stack([rng.permutation(row) for row in spaced.reshape(size, batch).T])
    return drawn.reshape(batch, *case.image)


def losses(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Cross-entropy per sample."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, label[:, None], 1)[:, 0]
    found: np.ndarray = np.log(np.exp(shifted).sum(axis=1)) - chosen
    return found


def directional_derivative(
    model: onnx.ModelProto, image: np.ndarray, label: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """dL_n/dε of every sample's loss along `direction` in the image, by a central difference."""
    ready = evaluator(model)
    ahead, behind = (_logits(ready, {"image": image + sign * STEP * direction}) for sign in (1, -1))
    slope: np.ndarray = (losses(ahead, label) - losses(behind, label)) / (2 * STEP)
    return slope


def numerical_gradient(model: onnx.ModelProto, name: str, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Per-sample gradient of the losses with respect to one initializer, entry by entry: [N, *shape]."""
    free = onnx.ModelProto()
    free.CopyFrom(model)
    tensor = next(entry for entry in free.graph.initializer if entry.name == name)
    value = numpy_helper.to_array(tensor)
    free.graph.initializer.remove(tensor)
    free.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, value.shape))
    ready = evaluator(free)
    gradient = np.empty((len(image), value.size))
    for index in range(value.size):
        step = np.zeros(value.shape)
        step.flat[index] = STEP
        ahead, behind = (_logits(ready, {"image": image, name: value + sign * step}) for sign in (1, -1))
        gradient[:, index] = (losses(ahead, label) - losses(behind, label)) / (2 * STEP)
    return gradient.reshape(len(image), *value.shape)


def _logits(ready: ReferenceEvaluator, given: dict[str, np.ndarray]) -> np.ndarray:
    """The first output."""
    (found,) = cast(list[np.ndarray], ready.run(None, given))
    return found


@lru_cache(maxsize=4)
def in_double(case: Case) -> onnx.ModelProto:
    """The case's network in double precision."""
    return to_float64(network(case))
