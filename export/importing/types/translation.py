"""A graph of 8-bit integers, translated node by node into the float network that it stands for.

Where the file rounds a tensor to integers, the float network does nothing: rounding, and the limits that calibration
found for it, are passed straight through. But quantizers leave out a Relu or a Clip whose limits those of the integers
replace. So a lower limit of 0 is a Relu, and an upper one that is a whole number a Clip, such as ReLU6
(`Integers.own_limits`).

The float tensor that stands for the integer tensor `q` is called `q/~float`, unless the file itself has a name for it.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.graph.branches import names_read
from export.graph.edits import rename_tensors
from export.graph.errors import UnsupportedOperator
from export.graph.graph import STANDARD, Array, node_of, standard_opset, stored_tensors
from export.graph.names import OWN
from export.importing.types.bounds import bounds_behind
from export.importing.types.ending import Ending
from export.importing.types.integers import UNIT, Integers
from export.tracing.evaluation import evaluate as evaluated

Rule = Callable[["Translation", NodeProto], None]
REFERENCE_OPSET = 21
"""First opset of which onnx's reference evaluator knows all that it may have to evaluate here."""
SUFFIXES = ("_DequantizeLinear_Output", "_quantized", "_Transposed")
"""Ends of the names that ONNX Runtime's quantizer gives to weights."""
ADVICE = "import the float32 model it was made from"


@dataclass(frozen=True)
class Channels:
    """The axis of a layer's output channels in its weight, and in the product."""

    weight: int
    product: int


@dataclass(frozen=True)
class Product:
    """A product of integers: its node, whose second operand is the weight, the weight's name, and its channels."""

    node: NodeProto
    name: str
    channels: Channels


class Translation:
    """The float network under construction: `nodes` over the file's stored tensors and those `made` here.

    - `values`: every tensor whose value is known, as in the file but for dynamic scales, which are 1 here.
    - `integers`: what the integer tensors that depend on the image stand for.
    - `unlike`: tensors of the file that mean something else here.
    - `products`: products of integers with a stored weight, whose step or bias is still to come.
    - `producers`, `readers`: the node that makes a tensor of the file, and how many read it.
    - `rounds`: True once an activation was found to be rounded; `dequantizes` once a weight was.
    """

    def __init__(self, model: ModelProto, rules: Mapping[str, Rule], ending: Ending) -> None:
        self._model, self._rules, self._ending = model, rules, ending
        self.opset = standard_opset(model)
        self.values = {name: numpy_helper.to_array(tensor) for name, tensor in stored_tensors(model.graph).items()}
        self.integers: dict[str, Integers] = {}
        self.unlike: set[str] = set()
        self.rounds = self.dequantizes = False
        self.nodes: list[NodeProto] = []
        self.made: dict[str, Array] = {}
        self.products: dict[str, Product] = {}
        self._dynamic: set[str] = set()
        self._own: set[str] = set()
        self._renamed: dict[str, str] = {}
        self._bounds: dict[str, tuple[float, float]] = {}
        graph = model.graph
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in names_read([node]))
        self._known = {value.name for value in (*graph.input, *graph.initializer)}
        self._known |= {name for node in graph.node for name in node.output}

    def run(self) -> ModelProto:
        """Translate every node, and return the float network.

        Raises UnsupportedOperator for an operator on integers that has no rule here.
        """
        for node in self._model.graph.node:
            rule = self._rules.get(node.op_type)
            if rule is not None:
                rule(self, node)
            else:
                self.keep(node)
        return self._finished()

    def emit(self, operator: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Any) -> str:
        """Add a node of the standard domain, called `name` or after its output, and return that."""
        self.append(helper.make_node(operator, inputs, [output], name or f"{output}{OWN}{operator}", **attributes))
        return output

    def own(self, name: str, mark: str) -> str:
        """Return a name derived from a tensor's, for another one."""
        made = f"{name}{OWN}{mark}"
        self._own.add(made)
        return made

    def call(self, source: str, name: str) -> None:
        """Give the tensor `source` the file's name `name`."""
        if (source in self._own or source in self.unlike) and source not in self._renamed:
            self._renamed[source] = name
        else:
            self.emit("Identity", [source], name)
        if source in self._bounds:
            self._bounds[name] = self._bounds[source]

    def constant(self, value: Any, name: str) -> str:
        """Store an array, under `name` if that is free, and return its name."""
        array = np.asarray(value)
        while name in self.made or name in self._known:
            if name in self.made and np.array_equal(self.made[name], array):
                return name
            name = f"{name}{OWN}float"
        self.made[name] = array
        return name

    def call_weight(self, name: str) -> None:
        """Give a stored tensor its name without what the quantizer added, if that is free."""
        plain = self.plain(name)
        if plain != name and plain not in self._known and plain not in self.made:
            self._renamed[name] = plain

    def plain(self, name: str) -> str:
        """Return a weight's name without what the quantizer added."""
        for suffix in SUFFIXES:
            name = name.removesuffix(suffix)
        return name

    def value(self, node: NodeProto, index: int, default: Any = None) -> Array:
        """Return the constant operand of a node; UnsupportedOperator where it is computed from the image."""
        name = node.input[index] if index < len(node.input) else ""
        if not name and default is not None:
            return np.asarray(default)
        if name not in self.values:
            raise self.refusal(node, f"its operand {name!r} is computed from the image")
        return self.values[name]

    def stated(self, node: NodeProto, step: int, nought: int, axis: int = 0, kind: Any = np.uint8) -> Integers:
        """Return what a node says of integers, from the positions of their step and nought among its operands."""
        steps = self.value(node, step)
        return Integers(steps, self.value(node, nought, np.zeros(steps.shape, kind)), axis)

    def floats(self, node: NodeProto, index: int, stated: Integers, stored_as: str | None = None) -> str:
        """Return the float tensor that stands for a node's integer operand, taken for what the node states.

        A constant is stored as `stored_as`, by default under its name without what the quantizer added.
        """
        name = node.input[index]
        if name in self.values:
            self.dequantizes = True
            return self.constant(stated.floats(self.values[name]), stored_as or self.plain(name))
        found = self.standing_for(node, index)
        if found.agrees(stated):
            return f"{name}{OWN}float"
        if not (found.is_one_for_all and stated.is_one_for_all):
            raise self.refusal(node, "it takes its operand for other numbers than those that were rounded")
        factor = float(stated.step) / float(found.step)
        shift = (float(found.nought) - float(stated.nought)) * float(stated.step)
        parts = [self.constant(np.float32(part), self.own(node.output[0], mark)) for part, mark in
                 ((factor, "factor"), (shift, "shift"))]  # fmt: skip
        product = self.emit("Mul", [f"{name}{OWN}float", parts[0]], self.own(node.output[0], f"scaled_{index}"))
        return self.emit("Add", [product, parts[1]], self.own(node.output[0], f"shifted_{index}"))

    def standing_for(self, node: NodeProto, index: int) -> Integers:
        """Return what the node's integer operand stands for; integers of the file's own stand for themselves."""
        name = node.input[index]
        if name not in self.integers:
            self.emit("Cast", [name], self.own(name, "float"), to=TensorProto.FLOAT)
            self.integers[name] = UNIT
        return self.integers[name]

    def rounded(self, source: str, output: str, kept: Integers) -> None:
        """Let the float tensor `source` stand for the integers `output`, behind the Relu that their limits may be."""
        self.integers[output] = kept
        self.rounds |= output not in self._ending.behind_softmax
        twin = self.own(output, "float")
        if output in self._ending.rounded and self.readers[source] == 1:
            self._renamed[source] = twin  # what the file rounds keeps no name, so that nobody goes behind that
            return
        least, most = self._bounds.get(source, (-np.inf, np.inf))
        low, high = kept.own_limits()
        if output in self._ending.rounded or ((low is None or least >= low) and (high is None or most <= high)):
            self.call(source, twin)
        elif high is None or most <= high:
            self.emit("Relu", [source], twin)
        else:
            limits = [self.constant(np.float32(limit), self.own(output, mark)) if limit is not None else ""
                      for limit, mark in ((low, "low"), (high, "high"))]  # fmt: skip
            self.emit("Clip", [source, *limits], twin)

    def make_dynamic(self, name: str, value: Array) -> None:
        """Take a number that the file computes from the image for the constant `value`."""
        self.values[name] = value
        self.unlike.add(name)
        self._dynamic.add(name)

    def is_dynamic(self, name: str) -> bool:
        """Tell whether a known value follows from a dynamic scale."""
        return name in self._dynamic

    def refusal(self, node: NodeProto, reason: str) -> UnsupportedOperator:
        """Return an error that names the node."""
        operator = f"{node.domain}::{node.op_type}" if node.domain not in STANDARD else node.op_type
        return UnsupportedOperator(operator, node.name or node.output[0], reason, ADVICE)

    def _is_known(self, node: NodeProto) -> bool:
        names = [name for name in node.input if name]
        if not names or any(name not in self.values for name in names):
            return False
        narrow = any(self.values[name].dtype.itemsize == 1 and self.values[name].dtype != bool for name in names)
        return narrow or any(name in self._dynamic for name in names)

    def evaluate(self, node: NodeProto) -> None:
        """Compute a node whose operands are known, as the file does, and store its outputs."""
        given = {name: self.values[name] for name in node.input if name}
        found = evaluated(node_of(node), given, max(REFERENCE_OPSET, self.opset))
        for name, value in zip((name for name in node.output if name), found, strict=True):
            self.values[name] = value
            if any(operand in self._dynamic for operand in given):
                self._dynamic.add(name)
                self.unlike.add(name)
            self.made[name] = value

    def keep(self, node: NodeProto) -> None:
        """Keep a node that no integers reach; one whose value follows from them is computed beforehand."""
        if self._is_known(node):
            self.evaluate(node)
            return
        if any(name in self.integers for name in names_read([node])):
            raise self.refusal(node, "it computes with 8-bit integers in a way that is not known here")
        self.append(node)

    def append(self, node: NodeProto) -> None:
        """Add a node."""
        self.nodes.append(node)
        found = bounds_behind(node, self._bounds, ChainMap(self.values, self.made))
        if found is not None:
            self._bounds[node.output[0]] = found

    def _finished(self) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.node[:]
        del graph.value_info[:]
        graph.node.extend(self.nodes)
        stored = {tensor.name for tensor in graph.initializer}
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.made.items() if name not in stored
        )
        rename_tensors(graph, {name: self._last_name(name) for name in self._renamed})
        return model

    def _last_name(self, name: str) -> str:
        while name in self._renamed:
            name = self._renamed[name]
        return name
