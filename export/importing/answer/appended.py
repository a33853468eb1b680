"""Nodes and constants that are added behind a file's graph, under names that the graph does not use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper


class Appended:
    """Collects nodes and constants for the end of `model`; the model changes only in the copy that `to` returns."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.known = {value.name for value in (*graph.input, *graph.initializer)}
        self.known |= {name for node in graph.node for name in node.output}
        self._stem = "answer"
        while any(name.startswith(f"{self._stem}/") for name in self.known):
            self._stem += "_"
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one node and return the name of its output."""
        return self.ops(operator, inputs, 1, **attributes)[0]

    def ops(self, operator: str, inputs: tuple[str, ...], outputs: int, **attributes: Any) -> list[str]:
        """Add one node with several outputs and return their names."""
        stem = f"{self._stem}/{operator}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}:{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, stem, **attributes))
        return names

    def constant(self, value: Any) -> str:
        """Add a constant, floats as float32 and integers as int64, and return its name."""
        array = np.asarray(value)
        array = array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
        name = f"{self._stem}/constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def readable(self, output: str) -> bool:
        """Tell whether every tensor that `output` depends on is in the model or was added here."""
        made = {name: node for node in self.nodes for name in node.output}
        open_names, seen = [output], set[str]()
        while open_names:
            name = open_names.pop()
            if name in made and name not in seen:
                seen.add(name)
                open_names += [operand for operand in made[name].input if operand]
            elif name not in made and name not in self.known and name not in self.constants:
                return False
        return True

    def to(self, model: ModelProto) -> ModelProto:
        """Return a copy of `model` with the nodes and constants at its end."""
        copy = ModelProto()
        copy.CopyFrom(model)
        copy.graph.node.extend(self.nodes)
        copy.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        return copy
