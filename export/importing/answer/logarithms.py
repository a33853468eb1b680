"""Logits from probabilities: logarithms of the tensors at the end of a classifier.

softmax(ln p) = p where p sums to 1, so ln p are logits of a network that answers probabilities, and −ln p of the
label is the loss. The logarithm of a float32 probability loses whatever lies below float32's range. Where the
graph is plain, the logarithm is derived from it instead: ln exp(x) is x, ln of a product is a sum, and ln
softmax(z) is z minus one number per sample, which a softmax does not change. Such numbers are left out (`scores`)
unless an operator behind them makes them count (`exact`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from export.graph.graph import Graph, N, Node, batch_axis, per_sample_size
from export.importing.answer.appended import Appended

SMALLEST = float(np.finfo(np.float32).tiny)
"""Smallest probability that is told from 0: ln 0 has no gradient, and kernels flush smaller numbers to 0."""

PASSED = {"Identity", "Dropout", "Cast", "Relu"}
"""Operators that do not change a positive number."""
SHAPED = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
MOVED = SHAPED | {"Slice", "Gather", "Expand"}
FACTORS = {"Mul", "Div"}
DEEPEST = 50
"""Largest number of nodes between the output and a form of probability that is still found."""


Rule = Callable[["Logarithms", Node, bool], str | None]
"""ln y of a node's output y, `exact` or up to one number per sample; None where the operands may not be positive."""


class Logarithms:
    """Finds logarithms of `graph`'s tensors by the rules for their operators, and adds their nodes to `added`."""

    def __init__(self, graph: Graph, added: Appended, rules: Mapping[str, Rule]) -> None:
        self.graph, self.added, self._rules = graph, added, rules
        self.producers = graph.producers()
        self._known: dict[tuple[str, bool], str | None] = {}
        self._depth = 0

    def unshaped(self, tensor: str) -> str:
        """Return the tensor of the same numbers in the same order before anything reshaped it."""
        while (node := self.producers.get(tensor)) is not None and node.operator in SHAPED | {"Identity", "Dropout"}:
            shape = self.graph.shape(node.inputs[0])
            in_order = node.operator != "Transpose" or sum(size != 1 for size in shape) == 2
            if shape[0] != N or not in_order or not self.added.readable(node.inputs[0]):
                break
            tensor = node.inputs[0]
        return tensor

    def scores(self, tensor: str) -> str | None:
        """Return ln(tensor), of the tensor's shape, up to one number per sample; None where no rule leads to it."""
        return self._readable(self.of(tensor, exact=False))

    def exact(self, tensor: str) -> str | None:
        """Return ln(tensor) itself; None where no rule leads to it."""
        return self._readable(self.of(tensor, exact=True))

    def floored(self, tensor: str) -> str:
        """Return ln(max(tensor, 1.2e-38)), for any tensor of probabilities; its gradient is exact above that."""
        return self.added.op("Log", self.added.op("Max", tensor, self.added.constant(SMALLEST)))

    def logits(self, tensor: str) -> str | None:
        """Return simpler logits with the same softmax where `tensor` is a LogSoftmax or the Log of probabilities.

        Returns None where it is neither.
        """
        node = self.producers.get(tensor)
        if node is None:
            return None
        if node.operator == "Identity" or node.operator in MOVED:
            inner = self.logits(node.inputs[0])
            return self._readable(inner and self.moved(node, inner, tensor))
        if node.operator == "LogSoftmax" and self.covers_classes(node):
            return self._readable(node.inputs[0])
        return self.scores(node.inputs[0]) if node.operator == "Log" else None

    def behind(self, tensor: str, passed: Collection[str]) -> Node | None:
        """Return the node that makes `tensor`, looking through nodes whose operators are in `passed`."""
        node = self.producers.get(tensor)
        while node is not None and node.operator in passed:
            sources = [name for name in node.inputs if name and name not in self.graph.constants]
            if node.operator in FACTORS and len(sources) > 1:
                return None
            node = self.producers.get(sources[0]) if sources else None
        return node

    def complement(self, tensor: str) -> str | None:
        """Return ln(1 − tensor); None where no rule leads to it."""
        return self._readable(self.complement_of(tensor))

    def is_plain(self, tensor: str) -> bool:
        """Tell whether a Softmax makes `tensor`, with nothing but reshapes behind it."""
        last = self.behind(tensor, PASSED | SHAPED)
        return last is not None and last.operator == "Softmax"

    def _readable(self, tensor: str | None) -> str | None:
        """Return the tensor, or None where it needs one that only folding made and the model does not hold."""
        return tensor if tensor is not None and self.added.readable(tensor) else None

    def complement_of(self, tensor: str) -> str | None:
        """Return ln(1 − tensor) for the rules, readable or not."""
        node = self.producers.get(tensor)
        if node is None:
            return None
        if node.operator in MOVED or (node.operator in PASSED | {"Clip"} and self.of(tensor, exact=True) is not None):
            inner = self.complement_of(node.inputs[0])
            return self.moved(node, inner, tensor) if inner and node.operator in MOVED else inner
        if node.operator == "Sigmoid":
            return self.added.op("Neg", self.added.op("Softplus", node.inputs[0]))
        if node.operator == "Sub" and self.is_one(node.inputs[0]):
            return self.alone(node.inputs[1], node, exact=True)
        return None

    def is_per_sample(self, tensor: str) -> bool:
        """Tell whether `tensor` depends on the image and holds one number per sample."""
        shape = self.graph.shape(tensor)
        return tensor not in self.graph.constants and batch_axis(shape) is not None and per_sample_size(shape) == 1

    def of(self, tensor: str, exact: bool) -> str | None:
        """Return ln(tensor) for the rules, `exact` or up to one number per sample, readable or not."""
        key = tensor, exact
        if key not in self._known and self._depth < DEEPEST:
            self._depth += 1
            self._known[key] = self._found(tensor, exact)
            self._depth -= 1
        return self._known.get(key)

    def alone(self, tensor: str, node: Node, exact: bool) -> str | None:
        """Return ln of the one operand that matters, where `node` does not broadcast it."""
        return self.of(tensor, exact) if self.graph.shape(tensor) == self.graph.shape(node.outputs[0]) else None

    def _found(self, tensor: str, exact: bool) -> str | None:
        if tensor in self.graph.constants:
            value = self.graph.constants[tensor]
            if not np.issubdtype(value.dtype, np.floating) or not (value >= 0).all() or not value.any():
                return None
            return self.added.constant(np.log(np.maximum(value, SMALLEST)))
        node = self.producers.get(tensor)
        if node is None or not np.issubdtype(self.graph.dtypes[tensor], np.floating):
            return None
        if node.operator in PASSED:
            return self.of(node.inputs[0], exact)
        if node.operator in MOVED or node.operator == "Split":
            inner = self.of(node.inputs[0], exact)
            return None if inner is None else self.moved(node, inner, tensor)
        rule = self._rules.get(node.operator)
        return rule(self, node, exact) if rule else None

    def moved(self, node: Node, source: str, tensor: str) -> str:
        """Return `source` rearranged as `node` rearranges its operand into `tensor`."""
        given = {name: value for name, value in node.attributes.items() if value is not None}
        made = self.added.ops(node.operator, (source, *node.inputs[1:]), len(node.outputs), **given)
        return made[node.outputs.index(tensor)]

    def covers_classes(self, node: Node) -> bool:
        """Tell whether a Softmax runs over all numbers of a sample, and so subtracts one number per sample."""
        shape = self.graph.shape(node.inputs[0])
        axis = shape[node.attribute("axis", -1)]
        return isinstance(axis, int) and batch_axis(shape) is not None and per_sample_size(shape) == axis

    def is_within_samples(self, node: Node) -> bool:
        """Tell whether a Softmax runs along an axis that does not hold the samples."""
        return isinstance(self.graph.shape(node.inputs[0])[node.attribute("axis", -1)], int)

    def is_common(self, factor: str) -> bool:
        """Tell whether a factor is the same for all classes of a sample, and positive where it is constant."""
        value = self.graph.constants.get(factor)
        if value is None:
            return self.is_per_sample(factor)
        return value.size == 1 and bool((value > 0).all())

    def is_one(self, tensor: str) -> bool:
        """Tell whether `tensor` is a constant of ones."""
        value = self.graph.constants.get(tensor)
        return value is not None and bool((value == 1).all())

    def is_zero(self, tensor: str) -> bool:
        """Tell whether `tensor` is a constant of zeros."""
        value = self.graph.constants.get(tensor)
        return value is not None and not value.any()

    def at_most_one(self, tensor: str) -> bool:
        """Tell whether a Softmax or Sigmoid makes `tensor`."""
        node = self.behind(tensor, PASSED | MOVED)
        return node is not None and node.operator in ("Softmax", "Sigmoid")
