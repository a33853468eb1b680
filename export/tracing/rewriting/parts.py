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
        return self._named(f"{self._stem}{OWN}{operator}_{len(self.nodes)}", operator, inputs, outputs, attributes)

    def constant(self, value: Any) -> str:
        """Add a constant of integers as int64, or of floating numbers in their own type."""
        array = np.asarray(value)
        array = array if np.issubdtype(array.dtype, np.floating) else array.astype(np.int64)
        return self.add("Constant", value=numpy_helper.from_array(array))

    def reshaped(self, tensor: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", tensor, self.constant(np.array(shape, dtype=np.int64)))

    def arranged(self, weight: str, shape: Sequence[int], order: Sequence[int] | None = None) -> str:
        """Reshape an operand, then transpose it, under names derived from its own: a layer is called by its weight."""
        target = self.constant(np.array(shape, dtype=np.int64))
        (found,) = self._derived(weight, "Reshape", [weight, target])
        return self._derived(weight, "Transpose", [found], perm=list(order))[0] if order else found

    def give(self, tensor: str, output: str) -> None:
        """Let `tensor` be called `output` too, the name of an output of the node; an absent one has no name."""
        if output:
            self.nodes.append(Node("Identity", (tensor,), (output,), {}, f"{output}{OWN}given"))

    def _derived(self, tensor: str, operator: str, inputs: Sequence[str], **attributes: Any) -> list[str]:
        name = f"{tensor}{OWN}{self._stem}/{operator}_{len(self.nodes)}"
        return self._named(name, operator, inputs, 1, attributes)

    def _named(
        self, name: str, operator: str, inputs: Sequence[str], outputs: int, attributes: dict[str, Any]
    ) -> list[str]:
        names = [name, *(f"{name}:{index}" for index in range(1, outputs))]
        self.nodes.append(Node(operator, tuple(inputs), tuple(names), attributes, name))
        return names
