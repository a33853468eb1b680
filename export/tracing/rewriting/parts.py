"""The nodes that take the place of one during a walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import numpy_helper

from export.graph.graph import Node
from export.graph.names import OWN


class Parts:
    """Nodes named after the one that they take the place of, in order."""

    def __init__(self, node: Node) -> None:
        self._stem = node.name
        self.nodes: list[Node] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output and return that."""
        return self.several(operator, inputs, 1, **attributes)[0]

    def several(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node and return its outputs."""
        name = f"{self._stem}{OWN}{operator}_{len(self.nodes)}"
        names = [name, *(f"{name}:{index}" for index in range(1, outputs))]
        self.nodes.append(Node(operator, tuple(inputs), tuple(names), attributes, name))
        return names

    def constant(self, value: Any) -> str:
        """Add a constant of integers, or of float32."""
        array = np.asarray(value)
        array = array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
        return self.add("Constant", value=numpy_helper.from_array(array))

    def reshaped(self, tensor: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", tensor, self.constant(np.array(shape, dtype=np.int64)))

    def give(self, tensor: str, output: str) -> None:
        """Let `tensor` be called `output` too, the name of an output of the node; an absent one has no name."""
        if output:
            self.nodes.append(Node("Identity", (tensor,), (output,), {}, f"{output}{OWN}given"))
