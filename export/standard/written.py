"""A node written out as others: what collects them and names them after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graph.errors import UnsupportedOperator
from export.graph.names import OWN

Attributes = Mapping[str, Any]
ADVICE = "import the file that ONNX Runtime read, or save it again with graph optimizations off"


class Written:
    """The nodes that take the place of one, in order; they are called after its first output."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.nodes: list[onnx.NodeProto] = []
        self._stem = node.output[0]

    def add(self, operator: str, *inputs: str, outputs: int = 1, named: str = "", **attributes: Any) -> str:
        """Add a node and return its output, the first of several; `named` is the node's own name."""
        name = f"{self._stem}{OWN}{operator}_{len(self.nodes)}"
        results = [name, *(f"{name}:{index}" for index in range(1, outputs))]
        node = helper.make_node(operator, inputs, results, named or f"{self._stem}/{operator}_{len(self.nodes)}")
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return name

    def constant(self, value: Any) -> str:
        """Add a constant: floats as float32, integers as int64."""
        array = np.asarray(value)
        array = array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
        return self.add("Constant", value=numpy_helper.from_array(array))

    def give(self, tensor: str, index: int = 0) -> None:
        """Let `tensor` be the output `index` of the node that is written out."""
        wanted = self.node.output[index]
        if index == 0 and self.nodes and self.nodes[-1].output[0] == tensor:
            self.nodes[-1].output[0] = wanted
        else:
            self.nodes.append(helper.make_node("Identity", [tensor], [wanted], f"{wanted}/Identity"))


def operand(node: onnx.NodeProto, index: int) -> str:
    """Return the name of an input, empty where an optional one is absent."""
    return node.input[index] if index < len(node.input) else ""


def total_of(w: Written, first: str, *others: str) -> str:
    """Add tensors up, but for those that are absent."""
    for other in filter(None, others):
        first = w.add("Add", first, other)
    return first


def unknown_form(node: onnx.NodeProto, reason: str) -> UnsupportedOperator:
    """Return the error to raise for a form of an operator that is not written out."""
    return UnsupportedOperator(f"{node.domain}::{node.op_type}", node.name or node.output[0], reason, ADVICE)
