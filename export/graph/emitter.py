"""The emitter, with which operator rules add standard ONNX nodes behind the forward graph."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graph.errors import SamplesInTheWay, UnsupportedOperator
from export.graph.graph import Array, Batch, Graph, N, Node, Shape, batch_axis, per_sample_size, static
from export.graph.names import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class PerSample:
    """A gradient of a parameter that a rule has already reduced: [N, *shape of the parameter]."""

    tensor: str


Cotangent = str | PerSample | None


class Emitter:
    """Adds nodes to the gradient part of a graph.

    Every emitted node and its output are called `<forward node>/gradient/<Operator>` with a
    counter, so that a profile of the gradient run reads like the network.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self._scope = "loss"
        self._counts: dict[str, int] = {}
        self._known: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self.extra_outputs: dict[str, tuple[str, ...]] = {}

    def fork(self) -> Emitter:
        """Return an emitter that goes on from here, on a copy of the graph, and leaves this one as it is."""
        twin = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list):
                setattr(twin, name, value.copy())
        known = self.graph
        twin.graph = replace(
            known, constants=dict(known.constants), shapes=dict(known.shapes), dtypes=dict(known.dtypes)
        )
        return twin

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Name the nodes emitted inside after the forward node `name`."""
        outer, self._scope = self._scope, name
        try:
            yield
        finally:
            self._scope = outer

    # ── facts about the forward graph ─────────────────────────────────────────────────────────

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.graph.dtype

    @property
    def element_type(self) -> int:
        """ONNX's number for `dtype`, the target of a Cast."""
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a forward tensor or constant, with a `Batch` for the axis of the samples."""
        return self.graph.shape(tensor)

    def value(self, tensor: str) -> Array | None:
        """Return the array of a constant operand, None where the operand depends on the image."""
        return self.graph.constants.get(tensor)

    def constant_operand(self, node: Node, index: int, default: Any = None) -> Any:
        """Return a constant operand's array, `default` where it is absent.

        Raises UnsupportedOperator for an operand that depends on the image.
        """
        name = node.input(index)
        if name is None:
            return default
        value = self.value(name)
        if value is None:
            raise self.refusal(node, f"its operand {index} ({name!r}) is computed from the image", "make it a constant")
        return value

    def refusal(self, node: Node, reason: str, advice: str) -> UnsupportedOperator:
        """Return the error to raise for a node that this rule does not cover."""
        return UnsupportedOperator(node.operator, node.name, reason, advice)

    # ── emission ──────────────────────────────────────────────────────────────────────────────

    @overload
    def op(self, operator: str, *inputs: str | None, outputs: Literal[1] = 1, **attributes: Any) -> str: ...
    @overload
    def op(self, operator: str, *inputs: str | None, outputs: int, **attributes: Any) -> tuple[str, ...]: ...
    def op(self, operator: str, *inputs: str | None, outputs: int = 1, **attributes: Any) -> str | tuple[str, ...]:
        """Emit one node and return its output (a tuple where `outputs` is more than one).

        The same node asked for twice is emitted once.
        """
        operands = tuple(name or "" for name in inputs)
        key = _key(operator, operands, outputs, attributes)
        if key not in self._known:
            stem = f"{self._scope}/gradient/{operator}"
            results = self._free_names(stem, outputs)
            name = results[0].removesuffix(":0") if outputs > 1 else results[0]
            self.nodes.append(Node(operator, operands, results, attributes, name))
            self._known[key] = results
        results = self._known[key]
        return results[0] if outputs == 1 else results

    def continued(self) -> Emitter:
        """Return an emitter into the same graph without any of the nodes so far, whose names it does not give again."""
        other = Emitter(self.graph)
        other._counts, other.extra_outputs = self._counts, self.extra_outputs
        return other

    def keep(self, node: Node) -> None:
        """Add a node of another emitter as it is."""
        self.nodes.append(node)
        self._known.setdefault(_key(node.operator, node.inputs, len(node.outputs), node.attributes), node.outputs)

    def _free_names(self, stem: str, outputs: int) -> tuple[str, ...]:
        """The next names of `stem` that the graph does not use."""
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            name = f"{stem}_{count}" if count else stem
            results = (name,) if outputs == 1 else tuple(f"{name}:{index}" for index in range(outputs))
            if not any(result in self.graph.shapes or result in self.graph.constants for result in results):
                return results

    def declare(self, tensor: str, shape: Shape) -> str:
        """State the shape of an emitted tensor, and return it.

        ONNX Runtime keeps two tensors in one blocked layout only where it sees that their shapes, the free
        batch among them, are the same.
        """
        self.graph.shapes[tensor], self.graph.dtypes[tensor] = shape, self.dtype
        return tensor

    def second_output(self, node: Node) -> str:
        """The optional second output of a forward node, asked of the node itself."""
        name = f"{node.name}{OWN}second"
        self.extra_outputs[node.name] = (node.outputs[0], name)
        return name

    def constant(self, value: Any) -> str:
        """A constant called by its contents; floats take the graph's precision, integers int64."""
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(self.dtype)
        elif array.dtype != np.bool_ and array.dtype != np.int32:
            array = array.astype(np.int64)
        digest = hashlib.sha256(repr((array.dtype.str, array.shape)).encode() + array.tobytes()).hexdigest()[:16]
        name = f"constant/{digest}"
        self.graph.constants.setdefault(name, np.ascontiguousarray(array).reshape(array.shape))
        return name

    def scalar(self, value: float) -> str:
        """A float constant of no axes."""
        return self.constant(np.array(value, dtype=self.dtype))

    def ints(self, values: Sequence[int]) -> str:
        """An int64 vector: axes, shapes, pads."""
        return self.constant(np.array(values, dtype=np.int64).reshape(len(values)))

    # ── the few phrases every rule uses ───────────────────────────────────────────────────────

    def reshape(self, tensor: str, shape: Sequence[int | Batch]) -> str:
        """Reshape to a shape with at most one batch axis, which is left to be computed."""
        return self.op("Reshape", tensor, self.ints([-1 if isinstance(d, Batch) else d for d in shape]))

    def transpose(self, tensor: str, order: Sequence[int]) -> str:
        return tensor if list(order) == sorted(order) else self.op("Transpose", tensor, perm=list(order))

    def reduce_sum(self, tensor: str, axes: Sequence[int], keepdims: bool = False) -> str:
        return self.op("ReduceSum", tensor, self.ints(axes), keepdims=int(keepdims)) if len(axes) else tensor

    def mul(self, a: str, b: str) -> str:
        return self.op("Mul", a, b)

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b)

    def square_sum(self, tensor: str, axes: Sequence[int], keepdims: bool = False) -> str:
        """Σ x² over `axes`; `ReduceSumSquare` is slower in ONNX Runtime and ten times less exact."""
        return self.reduce_sum(self.mul(tensor, tensor), axes, keepdims)

    def position_sum(self, tensor: str, shape: Shape) -> str:
        """Σ over the positions of [N, C, *positions], and over the rows of a sample where it has several: [N, C]."""
        if shape[0] != N:
            channels = static(shape[1:2])
            total = self.unbroadcast_per_sample(tensor, shape, (*channels, *[1] * (len(shape) - 2)))
            return self.reshape(total, (N, *channels))
        return self.reduce_sum(tensor, range(2, len(shape)))

    def repeat(self, tensor: str, shape: Shape) -> str:
        """`tensor` repeated along its axes of size 1 to `shape`."""
        return self.op("Expand", tensor, self.ints([1 if isinstance(d, Batch) else d for d in shape]))

    def zero(self) -> onnx.TensorProto:
        """The value attribute of a ConstantOfShape in the graph's precision."""
        return numpy_helper.from_array(np.zeros(1, dtype=self.dtype))

    def samples_first(self, tensor: str, shape: Shape) -> str:
        """`tensor` of `shape`, rearranged to [N, numbers per sample]."""
        axis = batch_axis(shape)
        if axis is None:
            raise SamplesInTheWay(f"no axis of {shape} holds the samples")
        batch = shape[axis]
        assert isinstance(batch, Batch)
        before = per_sample_size(shape[:axis]) * batch.before
        after = per_sample_size(shape[axis + 1 :]) * batch.after
        if before > 1:
            tensor = self.transpose(self.reshape(tensor, (before, Batch(), after)), (1, 0, 2))
        return self.reshape(tensor, (Batch(), before * after))

    def sum_of_parts(self, tensor: str, shape: Shape) -> str:
        """[N·k, *rest] → [N, *rest], the k rows of every sample summed; `tensor` itself where there is one each."""
        return tensor if shape[0] == N else self.unbroadcast_per_sample(tensor, shape, static(shape[1:]))

    def channels_second(self, tensor: str, shape: Shape, axis: int) -> str:
        """`tensor` as [N, C, everything else], C its axis `axis`, wherever the samples lie."""
        batch = batch_axis(shape)
        if batch is None or batch == axis:
            raise SamplesInTheWay(f"no axis of {shape} but the channels holds the samples")
        pieces: list[int | Batch] = []
        samples = channels = 0
        for position, size in enumerate(shape):
            if position == axis:
                channels = len(pieces)
            if isinstance(size, Batch):
                samples = len(pieces) + 1
                pieces += [size.before, Batch(), size.after]
            else:
                pieces.append(size)
        order = [samples, channels, *(index for index in range(len(pieces)) if index not in (samples, channels))]
        apart = self.transpose(self.reshape(tensor, pieces), order)
        size = static((shape[axis],))[0]
        return self.reshape(apart, (N, size, per_sample_size(shape) // size))

    def unbroadcast(self, tensor: str, shape: Shape, target: Shape) -> str:
        """Sum `tensor` over the axes along which an operand of shape `target` was repeated."""
        lead = len(shape) - len(target)
        axes = [axis for axis in range(len(shape)) if axis < lead or (target[axis - lead] == 1 and shape[axis] != 1)]
        if not axes:
            return tensor
        return self.reshape(self.reduce_sum(tensor, axes, keepdims=True), target)

    def unbroadcast_per_sample(self, tensor: str, shape: Shape, target: Sequence[int]) -> str:
        """Do for a parameter what `unbroadcast` does, but sample by sample: [N, *target]."""
        axis = batch_axis(shape)
        if axis is None:
            raise SamplesInTheWay(f"no axis of {shape} holds the samples")
        batch = shape[axis]
        assert isinstance(batch, Batch)
        lead = len(shape) - len(target)
        if axis >= lead and target[axis - lead] != 1:
            raise SamplesInTheWay("a parameter is laid along the batch axis")
        pieces: list[tuple[int | Batch, bool]] = []
        for position, size in enumerate(shape):
            if isinstance(size, Batch):
                pieces += [(size.before, True), (Batch(), False), (size.after, True)]
            else:
                repeated = position < lead or target[position - lead] == 1
                pieces.append((size, repeated))
        pieces = [piece for piece in pieces if piece[0] != 1]
        if tuple(size for size, _ in pieces) != shape:
            tensor = self.reshape(tensor, [size for size, _ in pieces])
        tensor = self.reduce_sum(tensor, [index for index, (_, summed) in enumerate(pieces) if summed])
        left = tuple(size for size, summed in pieces if not summed)
        return self.reshape(self.samples_first(tensor, left), (Batch(), *target))


def _key(operator: str, operands: tuple[str, ...], outputs: int, attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a key that is equal for nodes that compute the same."""
    return operator, operands, outputs, repr(sorted(attributes.items()))
