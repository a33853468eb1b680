"""Slopes of the loss along a change of the network: ⟨dL/dp, Δp⟩ per sample, for every trained constant p.

No gradient of a weight is formed. A layer y = W∗x + b is linear in W and b together, so ⟨dL/dW, ΔW⟩ + ⟨dL/db, Δb⟩ is
⟨dL/dy, ΔW∗x + Δb⟩: one more forward pass of the layer. Other constants have few numbers, and their per-sample
gradients are at hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from export.gradient.backward import Gradients
from export.gradient.norms.columns import weighted_sums, zeros
from export.gradient.norms.layers import WeightedLayer, weight_operand
from export.graph.emitter import Emitter
from export.graph.graph import N, Node, Shape, static
from export.graph.parameters import DIFFERENCE

Kind = Literal["layer", "other", "rest"]
Column = tuple[Kind, int]


class Slopes:
    """The slopes of a whole network, and the constants whose changes they take."""

    def __init__(
        self, g: Emitter, gradients: Gradients, layers: Sequence[WeightedLayer], others: Sequence[str]
    ) -> None:
        """Emit all slopes; what no output needs dies as dead nodes.

        Args:
            others: sources of the parameters that have a column of their own beside the layers.
        """
        self._g, self._gradients = g, gradients
        self._rows: dict[Column, list[tuple[str, int]]] = defaultdict(list)
        self.columns: dict[str, Column] = {}
        """Constant → the column that its change counts for."""
        self._own = self._columns(layers, others)
        told = self._of_layers(layers)
        self._of_reads(told)
        self._of_whole_outputs()

    def emit(self, kind: Kind, width: int) -> str:
        """Return the slopes of one kind side by side, [N, width]."""
        g = self._g
        rows = []
        for index in range(width):
            parts = self._rows.get((kind, index)) or [(zeros(g), 1)]
            tensors, widths = zip(*parts, strict=True)
            joined = tensors[0] if len(tensors) == 1 else g.op("Concat", *tensors, axis=1)
            rows.append((joined, np.ones(sum(widths))))
        return weighted_sums(g, rows)

    def _columns(self, layers: Sequence[WeightedLayer], others: Sequence[str]) -> Mapping[str, Column]:
        """Return the column of every source that has one; what is folded into a layer belongs to it."""
        found: dict[str, Column] = {source: ("other", index) for index, source in enumerate(others)}
        for index, layer in enumerate(layers):
            norm = self._g.graph.folded.get(layer.operand)
            own = (layer.source, layer.bias, norm.shift if norm else None)
            found |= dict.fromkeys((name for name in own if name), ("layer", index))
        return found

    def _of_layers(self, layers: Sequence[WeightedLayer]) -> set[tuple[str, str]]:
        """Emit each layer once more for every use; return the node and the name of each bias that this includes."""
        told: set[tuple[str, str]] = set()
        for index, layer in enumerate(layers):
            for node, dy in self._gradients.uses[layer.source]:
                weight = weight_operand(self._g.graph, node)
                varied = [name for name in (weight, node.input(2)) if name and self._varies(name)]
                told |= {(node.name, name) for name in varied}
                new = {name: self.difference(name, ("layer", index)) for name in varied}
                self._rows["layer", index].append(self._of_use(node, dy, new))
        return told

    def _of_use(self, node: Node, dy: str, new: Mapping[str, str]) -> tuple[str, int]:
        """Emit a node with `new` operands in place of its weight and its bias, and the product with its cotangent."""
        g, shape = self._g, self._g.shape(node.outputs[0])
        first, bias = (new.get(name, name) for name in node.inputs[:2]), new.get(node.input(2) or "")
        with g.scope(node.name):
            z = g.op(node.operator, *first, *filter(None, [bias]), **node.attributes)
            return self._products(g.mul(dy, g.declare(z, shape)), shape)

    def _products(self, product: str, shape: Shape) -> tuple[str, int]:
        """Sum a product of maps as far as the runtime does it in its blocks; return the rest and its width."""
        g = self._g
        if len(shape) == 4 and shape[0] == N:
            return g.position_sum(product, shape), static(shape[1:2])[0]
        return g.reduce_sum(g.samples_first(product, shape), (1,), keepdims=True), 1

    def _of_reads(self, told: set[tuple[str, str]]) -> None:
        g = self._g
        for read in self._gradients.reads:
            if (read.node, read.constant) in told or not self._varies(read.constant):
                continue
            column = self._own.get(g.graph.source(read.constant), ("rest", 0))
            size = g.graph.constants[read.constant].size
            with g.scope(read.node):
                change = g.reshape(self.difference(read.constant, column), (1, size))
                row = g.mul(g.reshape(read.gradient, (N, size)), change)
            self._rows[column].append((row, size))

    def _of_whole_outputs(self) -> None:
        """Emit the slopes of constants whose gradient is not reduced: it has the shape of the operator's output."""
        g = self._g
        for read in self._gradients.whole:
            if not self._varies(read.constant):
                continue
            column = self._own.get(g.graph.source(read.constant), ("rest", 0))
            with g.scope(read.node):
                product = g.mul(read.gradient, self.difference(read.constant, column))
                flat = g.samples_first(product, read.shape)
                self._rows[column].append((g.reduce_sum(flat, (1,), keepdims=True), 1))

    def difference(self, constant: str, column: Column) -> str:
        """Return the tensor that holds the change of a constant, until one is put there the constant itself."""
        graph = self._g.graph
        name = f"{constant}{DIFFERENCE}"
        graph.constants.setdefault(name, graph.constants[constant])
        self.columns.setdefault(constant, column)
        return name

    def _varies(self, constant: str) -> bool:
        graph = self._g.graph
        return (
            constant in graph.constants
            and graph.constants[constant].dtype == graph.dtype
            and graph.source(constant) not in graph.excluded
        )
