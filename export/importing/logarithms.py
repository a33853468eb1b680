"""Logarithms of the tensors that end a classifier: logits, out of probabilities.

softmax(ln p) = p wherever p sums to 1, so ln p are logits of a network that answers probabilities,
and −ln p of the label is the loss. Taken of the probabilities themselves a logarithm loses what
lies below float32's range; where a graph is plain it is read off instead: ln exp(x) is x, ln of a
product is a sum, and ln softmax(z) is z less one number per sample, which no softmax sees. Those
numbers are left out (`scores`) unless an operator behind them would tell them apart (`exact`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from export.gradient.graph import Graph, N, Node, batch_axis, per_sample_size
from export.importing.appended import Appended

SMALLEST = float(np.finfo(np.float32).tiny)
"""Probabilities below it count as so much: ln 0 has no gradient, and kernels flush what is smaller to 0."""

PASSED = {"Identity", "Dropout", "Cast", "Relu"}
"""They leave a positive number as it is."""
SHAPED = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
MOVED = SHAPED | {"Slice", "Gather", "Expand"}
FACTORS = {"Mul", "Div"}
DEEPEST = 50
"""Nodes behind which no form of a probability is looked for any more."""


class Logarithms:
    """Logarithms of `graph`'s tensors, added to `added` where they are asked for."""

    def __init__(self, graph: Graph, added: Appended) -> None:
        self.graph, self.added = graph, added
        self.producers = graph.producers()
        self._known: dict[tuple[str, bool], str | None] = {}
        self._depth = 0

    def unshaped(self, tensor: str) -> str:
        """The tensor of the same numbers, sample by sample in the same order, before anything gave it its shape."""
        while (node := self.producers.get(tensor)) is not None and node.operator in SHAPED | {"Identity", "Dropout"}:
            shape = self.graph.shape(node.inputs[0])
            in_order = node.operator != "Transpose" or sum(size != 1 for size in shape) == 2
            if shape[0] != N or not in_order or not self.added.readable(node.inputs[0]):
                break
            tensor = node.inputs[0]
        return tensor

    def scores(self, tensor: str) -> str | None:
        """ln(tensor) up to one number per sample, of the tensor's shape; None where no rule leads to it."""
        return self._readable(self._of(tensor, exact=False))

    def exact(self, tensor: str) -> str | None:
        """ln(tensor) itself; None where no rule leads to it."""
        return self._readable(self._of(tensor, exact=True))

    def floored(self, tensor: str) -> str:
        """ln(max(tensor, 1.2e-38)): right for any tensor of probabilities, its gradient exact above that."""
        return self.added.op("Log", self.added.op("Max", tensor, self.added.constant(SMALLEST)))

    def logits(self, tensor: str) -> str | None:
        """Logits behind `tensor`, a LogSoftmax or the Log of plain probabilities, whose softmax is the same.

        None where `tensor` is neither.
        """
        node = self.producers.get(tensor)
        if node is None:
            return None
        if node.operator == "Identity" or node.operator in MOVED:
            inner = self.logits(node.inputs[0])
            return self._readable(inner and self._moved(node, inner, tensor))
        if node.operator == "LogSoftmax" and self._covers_classes(node):
            return self._readable(node.inputs[0])
        return self.scores(node.inputs[0]) if node.operator == "Log" else None

    def behind(self, tensor: str, passed: Collection[str]) -> Node | None:
        """The node that makes `tensor`, or the first before those of `passed` that do no more than change it."""
        node = self.producers.get(tensor)
        while node is not None and node.operator in passed:
            sources = [name for name in node.inputs if name and name not in self.graph.constants]
            if node.operator in FACTORS and len(sources) > 1:
                return None
            node = self.producers.get(sources[0])
        return node

    def complement(self, tensor: str) -> str | None:
        """ln(1 − tensor); None where no rule leads to it."""
        return self._readable(self._complement(tensor))

    def is_plain(self, tensor: str) -> bool:
        """Whether a Softmax makes `tensor`, and only its shape changes behind it."""
        last = self.behind(tensor, PASSED | SHAPED)
        return last is not None and last.operator == "Softmax"

    def _readable(self, tensor: str | None) -> str | None:
        """None for what folding made, which the file's own graph does not have."""
        return tensor if tensor is not None and self.added.readable(tensor) else None

    def _complement(self, tensor: str) -> str | None:
        node = self.producers.get(tensor)
        if node is None:
            return None
        if node.operator in MOVED or (node.operator in PASSED | {"Clip"} and self._of(tensor, exact=True) is not None):
            inner = self._complement(node.inputs[0])
            return self._moved(node, inner, tensor) if inner and node.operator in MOVED else inner
        if node.operator == "Sigmoid":
            return self.added.op("Neg", self.added.op("Softplus", node.inputs[0]))
        if node.operator == "Sub" and self._is_one(node.inputs[0]):
            return self._alone(node.inputs[1], node, exact=True)
        return None

    def is_per_sample(self, tensor: str) -> bool:
        """Whether `tensor` depends on the image and holds one number for every sample."""
        shape = self.graph.shape(tensor)
        return tensor not in self.graph.constants and batch_axis(shape) is not None and per_sample_size(shape) == 1

    def _of(self, tensor: str, exact: bool) -> str | None:
        key = tensor, exact
        if key not in self._known and self._depth < DEEPEST:
            self._depth += 1
            self._known[key] = self._found(tensor, exact)
            self._depth -= 1
        return self._known.get(key)

    def _alone(self, tensor: str, node: Node, exact: bool) -> str | None:
        """ln of the one operand that matters, where `node` does not repeat it."""
        return self._of(tensor, exact) if self.graph.shape(tensor) == self.graph.shape(node.outputs[0]) else None

    def _found(self, tensor: str, exact: bool) -> str | None:
        if tensor in self.graph.constants:
            value = self.graph.constants[tensor]
            positive = np.issubdtype(value.dtype, np.floating) and bool((value > 0).all())
            return self.added.constant(np.log(value)) if positive else None
        node = self.producers.get(tensor)
        if node is None or not np.issubdtype(self.graph.dtypes[tensor], np.floating):
            return None
        if node.operator in PASSED:
            return self._of(node.inputs[0], exact)
        if node.operator in MOVED or node.operator == "Split":
            inner = self._of(node.inputs[0], exact)
            return None if inner is None else self._moved(node, inner, tensor)
        rule = RULES.get(node.operator)
        return rule(self, node, exact) if rule else None

    def _moved(self, node: Node, source: str, tensor: str) -> str:
        """`source` rearranged as `node` rearranges its operand."""
        given = {name: value for name, value in node.attributes.items() if value is not None}
        made = self.added.ops(node.operator, (source, *node.inputs[1:]), len(node.outputs), **given)
        return made[node.outputs.index(tensor)]

    def _covers_classes(self, node: Node) -> bool:
        """Whether a Softmax runs over all numbers of a sample, so that what it subtracts is one number per sample."""
        shape = self.graph.shape(node.inputs[0])
        axis = shape[node.attribute("axis", -1)]
        return isinstance(axis, int) and batch_axis(shape) is not None and per_sample_size(shape) == axis

    def softmax(self, node: Node, exact: bool) -> str | None:
        if not exact and self._covers_classes(node):
            return node.inputs[0]
        if not isinstance(self.graph.shape(node.inputs[0])[node.attribute("axis", -1)], int):
            return None
        return self.added.op("LogSoftmax", node.inputs[0], axis=node.attribute("axis", -1))

    def exponential(self, node: Node, exact: bool) -> str | None:
        """x of eˣ; without what was subtracted of every sample's scores against overflow."""
        x = node.inputs[0]
        while not exact and (shift := self.producers.get(x)) is not None and shift.operator == "Sub":
            if not self.is_per_sample(shift.inputs[1]):
                break
            x = shift.inputs[0]
        return x

    def sigmoid(self, node: Node, exact: bool) -> str | None:
        """ln σ(x) = −ln(1 + e⁻ˣ)."""
        return self.added.op("Neg", self.added.op("Softplus", self.added.op("Neg", node.inputs[0])))

    def square_root(self, node: Node, exact: bool) -> str | None:
        inner = self._of(node.inputs[0], exact)
        return inner and self.added.op("Mul", inner, self.added.constant(0.5))

    def power(self, node: Node, exact: bool) -> str | None:
        base, exponent = self._of(node.inputs[0], exact), self.graph.constants.get(node.inputs[1])
        if base is None or exponent is None or exponent.size != 1:
            return None
        return self.added.op("Mul", base, self.added.constant(exponent.astype(np.float32)))

    def reciprocal(self, node: Node, exact: bool) -> str | None:
        inner = self._of(node.inputs[0], exact)
        return inner and self.added.op("Neg", inner)

    def product(self, node: Node, exact: bool) -> str | None:
        """A sum, or a difference for a quotient; without a factor that is common to a sample."""
        sum_of = "Add" if node.operator == "Mul" else "Sub"
        a, b = node.inputs
        if not exact and self._is_common(b):
            return self._alone(a, node, exact)
        if not exact and self._is_common(a) and node.operator == "Mul":
            return self._alone(b, node, exact)
        first, second = self._of(a, exact), self._of(b, exact)
        return None if first is None or second is None else self.added.op(sum_of, first, second)

    def _is_common(self, factor: str) -> bool:
        value = self.graph.constants.get(factor)
        if value is None:
            return self.is_per_sample(factor)
        return value.size == 1 and bool((value > 0).all())

    def difference(self, node: Node, exact: bool) -> str | None:
        """ln(x − 0), and ln(1 − x)."""
        if self._is_zero(node.inputs[1]):
            return self._alone(node.inputs[0], node, exact)
        same_shape = self.graph.shape(node.inputs[1]) == self.graph.shape(node.outputs[0])
        return self._complement(node.inputs[1]) if self._is_one(node.inputs[0]) and same_shape else None

    def _is_one(self, tensor: str) -> bool:
        value = self.graph.constants.get(tensor)
        return value is not None and bool((value == 1).all())

    def _is_zero(self, tensor: str) -> bool:
        value = self.graph.constants.get(tensor)
        return value is not None and not value.any()

    def sum_of_all(self, node: Node, exact: bool) -> str | None:
        """ln(a + b + …), or of their mean; of one alone where the others are zeros."""
        terms = [name for name in node.inputs if not self._is_zero(name)]
        if len(terms) == 1 and (node.operator != "Mean" or not exact):
            return self._alone(terms[0], node, exact)
        logarithms = [self._of(name, exact=True) for name in terms]
        total = logarithms[0]
        for other in logarithms[1:]:
            total = None if total is None or other is None else self._sum_of_two(total, other)
        if total is None or node.operator != "Mean":
            return total
        return self.added.op("Sub", total, self.added.constant(np.log(float(len(node.inputs)))))

    def _sum_of_two(self, a: str, b: str) -> str:
        """ln(eᵃ + eᵇ) from the larger of the two, so that nothing overflows."""
        op = self.added.op
        largest = op("Max", a, b)
        parts = (op("Exp", op("Sub", part, largest)) for part in (a, b))
        return op("Add", largest, op("Log", op("Add", *parts)))

    def reduced(self, node: Node, exact: bool) -> str | None:
        """ln Σ over an axis, or of the mean over it."""
        inner = self._of(node.inputs[0], exact=True)
        if inner is None:
            return None
        given = {name: value for name, value in node.attributes.items() if value is not None}
        total = self.added.op("ReduceLogSumExp", inner, *node.inputs[1:], **given)
        if node.operator == "ReduceSum":
            return total
        count = per_sample_size(self.graph.shape(node.inputs[0])) / per_sample_size(self.graph.shape(node.outputs[0]))
        return self.added.op("Sub", total, self.added.constant(np.log(count)))

    def joined(self, node: Node, exact: bool) -> str | None:
        parts = [self._of(name, exact=True) for name in node.inputs]
        present = [part for part in parts if part is not None]
        return self.added.op("Concat", *present, axis=node.attribute("axis")) if len(present) == len(parts) else None

    def clipped(self, node: Node, exact: bool) -> str | None:
        """ln x between the logarithms of the bounds, or without those that no probability reaches."""
        bounds = [self.graph.constants.get(name) for name in node.inputs[1:] if name]
        if any(bound is None for bound in bounds):
            return None
        low, high = (float(self.graph.constants[name]) if (name := node.input(i)) else None for i in (1, 2))
        low = None if low is None or low <= 0 else low
        high = None if high is None or (high >= 1 and self._at_most_one(node.inputs[0])) else high
        if low is None and high is None:
            return self._of(node.inputs[0], exact)
        inner = self._of(node.inputs[0], exact=True)
        if inner is None or (high is not None and high <= 0):
            return None
        limits = [self.added.constant(np.log(bound)) if bound is not None else "" for bound in (low, high)]
        return self.added.op("Clip", inner, *limits)

    def extremum(self, node: Node, exact: bool) -> str | None:
        """ln of the largest or least of several is that of their logarithms."""
        parts = [
            self._of(name, exact=True) for name in node.inputs if not self._is_zero(name) or node.operator == "Min"
        ]
        present = [part for part in parts if part is not None]
        return self.added.op(node.operator, *present) if len(present) == len(parts) else None

    def _at_most_one(self, tensor: str) -> bool:
        node = self.behind(tensor, PASSED | MOVED)
        return node is not None and node.operator in ("Softmax", "Sigmoid")

    def unit_sum(self, node: Node, exact: bool) -> str | None:
        """x/‖x‖₁."""
        shape = self.graph.shape(node.inputs[0])
        covers = N in shape and per_sample_size(shape) == shape[node.attribute("axis", -1)]
        return self._of(node.inputs[0], exact) if covers and not exact and node.attribute("p", 2) == 1 else None


Rule = Callable[[Logarithms, Node, bool], str | None]
RULES: dict[str, Rule] = {
    "Softmax": Logarithms.softmax,
    "Exp": Logarithms.exponential,
    "Sigmoid": Logarithms.sigmoid,
    "Sqrt": Logarithms.square_root,
    "Pow": Logarithms.power,
    "Reciprocal": Logarithms.reciprocal,
    "Mul": Logarithms.product,
    "Div": Logarithms.product,
    "Add": Logarithms.sum_of_all,
    "Sum": Logarithms.sum_of_all,
    "Mean": Logarithms.sum_of_all,
    "Sub": Logarithms.difference,
    "ReduceSum": Logarithms.reduced,
    "ReduceMean": Logarithms.reduced,
    "Concat": Logarithms.joined,
    "Clip": Logarithms.clipped,
    "Max": Logarithms.extremum,
    "Min": Logarithms.extremum,
    "LpNormalization": Logarithms.unit_sum,
}
