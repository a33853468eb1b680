"""Weights of a file that are all one number, drawn anew, because equal weights pass no gradient on.

A head of equal weights gives every feature the sum over classes of dL/dlogits, which is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

SEED = 7


def drawn(file: Path, path: Path) -> Path:
    """Write to `path` the file with its equal weights drawn anew; return it, or the file itself where none is equal."""
    model = onnx.load(file)
    changed = with_drawn_weights(model)
    if changed == model:
        return file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(changed, path)
    return path


def with_drawn_weights(model: ModelProto) -> ModelProto:
    """Return a copy whose equal weights, which light files make by ConstantOfShape, are distinct initializers."""
    copy = ModelProto()
    copy.CopyFrom(model)
    generator = np.random.default_rng(SEED)
    roles = dict(_roles(model))
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in copy.graph.initializer:
        value = shapes[tensor.name]
        if value.dtype == np.float32 and value.size > 1 and (value == value.flat[0]).all():
            tensor.CopyFrom(_initializer(tensor.name, roles, value.shape, generator))
    made = [node for node in copy.graph.node if node.op_type == "ConstantOfShape" and node.input[0] in shapes]
    for node in made:
        (value,) = (helper.get_attribute_value(entry) for entry in node.attribute)
        if numpy_helper.to_array(value).dtype == np.float32:
            shape = tuple(int(size) for size in shapes[node.input[0]])
            copy.graph.initializer.append(_initializer(node.output[0], roles, shape, generator))
            copy.graph.node.remove(node)
    return copy


def _initializer(
    name: str, roles: dict[str, str], shape: tuple[int, ...], generator: np.random.Generator
) -> TensorProto:
    return numpy_helper.from_array(_drawn(roles.get(name, ""), shape, generator).astype(np.float32), name)


def _roles(model: ModelProto) -> Iterator[tuple[str, str]]:
    for node in model.graph.node:
        names = {"BatchNormalization": ("", "scale", "shift", "shift", "scale"), "Mul": ("scale", "scale")}
        yield from zip(node.input, names.get(node.op_type, ()), strict=False)
        if node.op_type == "Unsqueeze":
            readers = [reader.op_type for reader in model.graph.node if node.output[0] in reader.input]
            yield node.input[0], "scale" if readers == ["Mul"] else "shift"


def _drawn(role: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Draw weights by He's initialization, scales about 1, and everything else about 0."""
    if role == "scale":
        return generator.uniform(0.5, 1.5, shape)
    if role == "shift" or len(shape) < 2:
        return generator.normal(0.0, 0.1, shape)
    return generator.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), shape)
