"""RNN, GRU and LSTM, unrolled over their steps into plain operators.

The weights stay whole, so that each is one layer: `W` is read by one product for all steps, `R` by one product a
step. Both directions go step by step side by side; that product is then a convolution of two groups.

Source of the formulas: onnx's description of the three operators.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Batch, Node, static
from export.tracing.rewriting.parts import Parts
from export.tracing.walk import Walk

LONGEST = 512
"""Steps up to which a recurrence is unrolled."""
ACTIVATIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
PARAMETERS: dict[str, tuple[str, ...]] = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softsign": (), "Softplus": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}  # fmt: skip
UNKNOWN_ATTRIBUTES = ("clip", "input_forget", "layout")

Activation = Callable[[str], str]


def unrolled(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes that take the place of an RNN, GRU or LSTM; none for any other node.

    Raises UnsupportedOperator for more than `LONGEST` steps, sequences of several lengths, and rare attributes.
    """
    if node.operator not in ACTIVATIONS or node.inputs[0] in walk.traces[0].values:
        return []
    return _Recurrence(walk, node).nodes()


class _Recurrence:
    """One node: T steps, D directions, states of `hidden` numbers, `gates` gates."""

    def __init__(self, walk: Walk, node: Node) -> None:
        self.node, self.walk, self.parts = node, walk, Parts(node)
        steps = walk.shape(node.inputs[0])[0]
        if isinstance(steps, Batch):
            raise self._refusal("it works along the batch: samples would mix", "keep the samples on the second axis")
        if steps > LONGEST:
            raise self._refusal(
                f"it takes {steps} steps, and more than {LONGEST} are not unrolled", "shorten the sequence"
            )
        for name in UNKNOWN_ATTRIBUTES:
            if node.attribute(name, 0):
                raise self._refusal(f"its attribute {name} is not supported", f"export it without {name}")
        if node.input(7):
            raise self._refusal("its peepholes are not supported", "export it without")
        self._require_whole_sequences(steps)
        self.steps = steps
        self.directions, rows, self.hidden = static(walk.shape(node.inputs[2]))
        self.gates = rows // self.hidden
        self.activations = self._activations()
        self.weight = self._arranged()

    def nodes(self) -> list[Node]:
        parts, node, width = self.parts, self.node, self.gates * self.hidden
        linear = parts.arranged(node.inputs[1], [self.directions * width, -1], order=[1, 0])
        read = parts.add("MatMul", node.inputs[0], linear)
        if bias := node.input(3):
            halves = parts.reshaped(bias, [self.directions, 2, width])
            own = self._half(halves, 0) if self._resets_behind else parts.add("ReduceSum", halves, parts.constant([1]))
            read = parts.add("Add", read, parts.reshaped(own, [self.directions * width]))
            self.recurrent_bias = parts.reshaped(self._half(halves, 1), [self.directions, width])
        inputs = self._in_time(parts.reshaped(read, [self.steps, -1, self.directions, width]))
        state, cell = self._initial(5), self._initial(6) if node.operator == "LSTM" else None
        states = []
        for piece in self._pieces(inputs, self.steps, axis=0):
            state, cell = CELLS[node.operator](self, parts.reshaped(piece, [-1, self.directions, width]), state, cell)
            states.append(parts.add("Unsqueeze", state, parts.constant([0])))
        whole = self._in_time(parts.add("Concat", *states, axis=0))
        outputs = [*node.outputs, "", "", ""]
        parts.give(parts.add("Transpose", whole, perm=[0, 2, 1, 3]), outputs[0])
        for last, output in zip((state, cell), outputs[1:3], strict=True):
            if last is not None and output:
                parts.give(parts.add("Transpose", last, perm=[1, 0, 2]), output)
        return parts.nodes

    # ── the cells: input [N, D, gates·hidden], state and cell [N, D, hidden] → the next state and cell ──

    def rnn(self, read: str, state: str | None, _: None) -> tuple[str, None]:
        """h' = f(x + R·h)."""
        (f,) = self.activations
        return f(read if state is None else self.parts.add("Add", read, self._recurrent(state))), None

    def lstm(self, read: str, state: str | None, cell: str | None) -> tuple[str, str]:
        """c' = f⊙c + i⊙g, h' = o⊙tanh c', with the gates in the order i, o, f, g."""
        f, g, h = self.activations
        add, mul = self._binary("Add"), self._binary("Mul")
        total = read if state is None else add(read, self._recurrent(state))
        into, out, keep, new = self._pieces(total, 4, axis=2)
        update = mul(f(into), g(new))
        cell = update if cell is None else add(mul(f(keep), cell), update)
        return mul(f(out), h(cell)), cell

    def gru(self, read: str, state: str | None, _: None) -> tuple[str, None]:
        """h' = n + z⊙(h − n), with the gates in the order z, r, n; r acts on h, or on the product of h with R."""
        f, g = self.activations
        add, mul = self._binary("Add"), self._binary("Mul")
        keep, reset, new = self._pieces(read, 3, axis=2)
        product = None if state is None else self._recurrent(state)
        if self._resets_behind:
            product = self._with_bias(product, read)
        if product is not None:
            of_keep, of_reset, of_new = self._pieces(product, 3, axis=2)
            keep, reset = add(keep, of_keep), add(reset, of_reset)
            if self._resets_behind:
                new = add(new, mul(f(reset), of_new))
            elif state is not None:
                new = add(new, self._pieces(self._recurrent(mul(f(reset), state)), 3, axis=2)[2])
        z, fresh = f(keep), g(new)
        if state is None:
            return self.parts.add("Sub", fresh, mul(z, fresh)), None
        return add(fresh, mul(z, self.parts.add("Sub", state, fresh))), None

    # ── what the cells use ──

    @property
    def _resets_behind(self) -> bool:
        return self.node.operator == "GRU" and bool(self.node.attribute("linear_before_reset", 0))

    def _binary(self, operator: str) -> Callable[[str, str], str]:
        return lambda a, b: self.parts.add(operator, a, b)

    def _recurrent(self, state: str) -> str:
        """R·h of every direction: [N, D, gates·hidden]."""
        parts = self.parts
        if self.directions == 1:
            return parts.add("MatMul", state, self.weight)
        flat = parts.reshaped(state, [-1, self.directions * self.hidden, 1])
        product = parts.add("Conv", flat, self.weight, group=self.directions, kernel_shape=[1])
        return parts.reshaped(product, [-1, self.directions, self.gates * self.hidden])

    def _arranged(self) -> str:
        """R as the product takes it: [hidden, gates·hidden], or a kernel of one tap with a group per direction."""
        parts, rows = self.parts, self.directions * self.gates * self.hidden
        if self.directions > 1:
            return parts.arranged(self.node.inputs[2], [rows, self.hidden, 1])
        return parts.arranged(self.node.inputs[2], [rows, -1], order=[1, 0])

    def _with_bias(self, product: str | None, read: str) -> str | None:
        """Add the recurrent bias, which without a state stands alone for every sample."""
        if not self.node.input(3):
            return product
        if product is None:
            return self.parts.add("Expand", self.recurrent_bias, self.parts.add("Shape", read))
        return self.parts.add("Add", product, self.recurrent_bias)

    def _half(self, halves: str, index: int) -> str:
        begin, end, axis = (self.parts.constant([value]) for value in (index, index + 1, 1))
        return self.parts.add("Slice", halves, begin, end, axis)

    def _pieces(self, tensor: str, count: int, axis: int) -> list[str]:
        return [tensor] if count == 1 else self.parts.several("Split", [tensor], count, axis=axis, num_outputs=count)

    def _in_time(self, tensor: str) -> str:
        """[T, N, D, …] with the steps of the backward direction in the opposite order; twice is as before."""
        parts, direction = self.parts, self.node.attribute("direction", "forward")
        if direction == "forward":
            return tensor
        backwards = parts.constant(np.arange(self.steps)[::-1])
        if direction == "reverse":
            return parts.add("Gather", tensor, backwards, axis=0)
        ahead, back = self._pieces(tensor, 2, axis=2)
        return parts.add("Concat", ahead, parts.add("Gather", back, backwards, axis=0), axis=2)

    def _initial(self, index: int) -> str | None:
        """The initial state as [N, D, hidden], None where it is zero."""
        name = self.node.input(index)
        if name is None or all(name in trace.values and not trace.values[name].any() for trace in self.walk.traces):
            return None
        return self.parts.add("Transpose", name, perm=[1, 0, 2])

    def _require_whole_sequences(self, steps: int) -> None:
        name = self.node.input(4)
        traces = self.walk.traces
        if name and not all(name in trace.values and (trace.values[name] == steps).all() for trace in traces):
            raise self._refusal("its sequences have lengths of their own", "take whole sequences")

    def _activations(self) -> list[Activation]:
        """The cell's functions; both directions must have the same."""
        default = ACTIVATIONS[self.node.operator]
        stated = list(self.node.attribute("activations") or default * self.directions)
        alphas, betas = (list(self.node.attribute(f"activation_{name}") or []) for name in ("alpha", "beta"))
        count = len(default)
        known = {name.lower(): name for name in PARAMETERS}
        names = [known.get(name.lower(), "") for name in stated]
        if not all(names) or names[:count] * self.directions != names:
            raise self._refusal(f"its activations {', '.join(stated)} are not supported", "use the default ones")
        if (alphas or betas) and self.directions > 1:
            raise self._refusal("its activations have parameters in two directions", "use the default ones")
        found: list[Activation] = []
        for name in names[:count]:
            given = {key: values.pop(0) for key, values in (("alpha", alphas), ("beta", betas))
                     if key in PARAMETERS[name] and values}  # fmt: skip
            found.append(self._activation(name, given))
        return found

    def _activation(self, name: str, given: dict[str, float]) -> Activation:
        return lambda tensor: self.parts.add(name, tensor, **given)

    def _refusal(self, reason: str, advice: str) -> UnsupportedOperator:
        return UnsupportedOperator(self.node.operator, self.node.name, reason, advice)


CELLS: dict[str, Callable[..., tuple[str, str | None]]] = {
    "RNN": _Recurrence.rnn,
    "GRU": _Recurrence.gru,
    "LSTM": _Recurrence.lstm,
}
