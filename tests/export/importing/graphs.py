"""Tiny classifiers for the import tests, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.importing import ImportOptions

node = helper.make_node
CLASSES = 4
SIZE = 6


def options(**changes: Any) -> ImportOptions:
    """Four classes, RGB, mean 0.5, std 0.25, unless said otherwise."""
    said: dict[str, Any] = {"labels": ("ant", "bee", "cat", "dog"), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return ImportOptions(**{**said, **changes})


def weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """A 3×3 convolution to five channels and a linear layer to four classes."""
    draw = np.random.default_rng(seed).standard_normal
    return {
        "conv.weight": draw((5, 3, 3, 3), dtype=np.float32) / np.float32(5),
        "conv.bias": draw(5, dtype=np.float32),
        "head.weight": draw((CLASSES, 5), dtype=np.float32),
        "head.bias": draw(CLASSES, dtype=np.float32),
    }


def body(flat: str = "flat") -> list[NodeProto]:
    """image → scores: Conv, Relu, GlobalAveragePool, Flatten, Gemm."""
    return [
        node("Conv", ["image", "conv.weight", "conv.bias"], ["y"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["y"], ["r"], "relu"),
        node("GlobalAveragePool", ["r"], ["pooled"], "pool"),
        node("Flatten", ["pooled"], [flat], "flatten"),
        node("Gemm", [flat, "head.weight", "head.bias"], ["scores"], "head", transB=1),
    ]


def classifier(
    nodes: Sequence[NodeProto] | None = None,
    *,
    outputs: Sequence[str] = ("scores",),
    image: Sequence[int | str] = ("N", 3, SIZE, SIZE),
    constants: dict[str, NDArray[Any]] | None = None,
    opset: int = 20,
    element: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model of `nodes` (default: `body`) over `constants` (default: `weights`)."""
    graph = helper.make_graph(
        list(nodes) if nodes is not None else body(),
        "classifier",
        [helper.make_tensor_value_info("image", element, image)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in {**weights(), **(constants or {})}.items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="by hand")


def saved(model: ModelProto, folder: Path, **how: Any) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path, **how)
    return path


def images(count: int = 2, size: int = SIZE, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((count, channels, size, size), dtype=np.float32)


def answer(model: ModelProto, batch: NDArray[Any]) -> NDArray[Any]:
    """The first output, by onnx's reference evaluator."""
    return np.asarray(next(iter(ReferenceEvaluator(model).run(None, {model.graph.input[0].name: batch}))))
